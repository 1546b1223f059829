"""`robustiqa attack`: what it prints is what its PNG files hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from robustiqa.attacks.ensemble import PRESETS, Preset
from robustiqa.core.image_files import read_image, write_png
from robustiqa.models.crop_average import CropAverage
from robustiqa.models.loading import load_model
from tests.cli.conftest import Run, picture


def attacked(run: Run, *arguments: object) -> dict[str, Any]:
    ran = run("attack", *arguments, "--json")
    assert (ran.code, ran.err) == (0, "")
    return ran.document


def test_the_png_holds_the_8_bit_score_the_levels_and_the_distance_that_are_printed(
    run: Run, photos: Path, weights: dict[str, Path], tmp_path: Path
) -> None:
    asked = (photos / "ann.png", "--weights", weights["base"], "--steps", "3", "--eps", "2/255", "--objective", "lower")
    document = attacked(run, *asked, "--out", tmp_path)
    assert document["attack"] == "ifgsm(eps=2/255, steps=3, step_size=0.00653594771242)"
    assert (document["objective"], document["variant"]) == ("lower", "end_to_end")
    (photo,) = document["photos"]
    found = photo["results"]["base"]
    assert found["files"] == [str(tmp_path / "ann-ifgsm.png")]
    clean, adversarial = read_image(photos / "ann.png"), read_image(found["files"][0])
    change = adversarial.double() - clean.double()
    assert found["levels"] == round(255 * change.abs().max().item()) == 2
    assert found["l2"] == pytest.approx(change.square().sum().sqrt().item(), rel=1e-4)
    model = CropAverage(load_model(weights["base"])).eval()
    scores = model.score(torch.stack([clean, adversarial])).tolist()
    assert [found["clean_score"], found["score"]] == pytest.approx(scores, rel=1e-4)
    assert found["score"] < found["clean_score"]
    assert found["gradients"] == 3
    assert 0.5 < found["ssim"] < 1


def test_the_record_beside_the_png_is_what_was_printed_and_scoring_the_png_gives_its_score(
    run: Run, photos: Path, weights: dict[str, Path], tmp_path: Path
) -> None:
    asked = (photos / "ann.png", "--weights", weights["base"], "--steps", "3", "--seed", "7", "-o", tmp_path)
    document = attacked(run, *asked)
    found = document["photos"][0]["results"]["base"]
    record = json.loads((tmp_path / "ann-ifgsm.json").read_text())
    plan = {name: document[name] for name in ("attack", "objective", "eps", "seed", "variant", "max_side")}
    assert record == {**plan, "model": document["models"][0], **found}
    assert (record["seed"], record["record"]) == (7, str(tmp_path / "ann-ifgsm.json"))
    ran = run("score", record["files"][0], "--weights", weights["base"], "--json")
    assert ran.document["photos"][0]["scores"]["base"]["score"] == record["score"]


def test_the_difference_is_amplified_about_mid_gray_so_that_four_levels_are_64(
    run: Run, photos: Path, weights: dict[str, Path], tmp_path: Path
) -> None:
    document = attacked(run, photos / "ann.png", "--weights", weights["base"], "--attack", "fgsm", "--out", tmp_path)
    found = document["photos"][0]["results"]["base"]
    clean, adversarial, shown = (
        255 * read_image(path) for path in (photos / "ann.png", *found["files"], *found["differences"])
    )
    assert found["amplification"] == 16
    assert found["differences"] == [str(tmp_path / "ann-fgsm-difference.png")]
    assert shown.round().tolist() == (127 + 16 * (adversarial - clean)).round().tolist()


def test_a_file_in_place_of_the_folder_is_refused_before_anything_is_attacked(
    run: Run, photos: Path, weights: dict[str, Path], tmp_path: Path
) -> None:
    taken = tmp_path / "taken.png"
    taken.write_text("mine")
    ran = run("attack", photos / "ann.png", "--weights", weights["base"], "--out", taken)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"--out {taken} is a file; expected a folder, which is made if it is not there.\n"
    assert taken.read_text() == "mine"


def test_fgsm_takes_the_demos_flags_of_the_published_code(run: Run, photos: Path, weights: dict[str, Path]) -> None:
    flags = ("--attack", "fgsm", "--eps", "0.01", "--objective", "farther_end", "--patchwise")
    document = attacked(run, photos / "ann.png", "--weights", weights["nt"], *flags)
    assert document["attack"] == "fgsm(eps=0.01)"
    assert document["variant"] == "patchwise"
    assert document["photos"][0]["results"]["nt"]["levels"] == 2  # whole levels of .01


def test_each_model_writes_into_a_folder_of_its_own(
    run: Run, photos: Path, weights: dict[str, Path], tmp_path: Path
) -> None:
    asked = (photos, "--weights", weights["base"], "--weights", f"robust={weights['nt']}", "--attack", "random_sign")
    attacked(run, *asked, "--out", tmp_path)
    written = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*_sign.png"))
    assert written == [f"{label}/{name}-random_sign.png" for label in ("base", "robust") for name in ("ann", "bob")]


def test_a_patchwise_attack_writes_a_file_for_each_crop(
    run: Run, photos: Path, weights: dict[str, Path], tmp_path: Path
) -> None:
    asked = (photos / "ann.png", "--weights", weights["base"], "--attack", "fgsm", "--patchwise", "--out", tmp_path)
    (photo,) = attacked(run, *asked)["photos"]
    assert [Path(file).name for file in photo["results"]["base"]["files"]] == [
        "ann-fgsm-crop-01.png",
        "ann-fgsm-crop-02.png",
    ]
    assert all(read_image(file).shape == (3, 224, 224) for file in photo["results"]["base"]["files"])


def test_two_photographs_of_one_name_do_not_overwrite_each_other(
    run: Run, weights: dict[str, Path], tmp_path: Path
) -> None:
    for folder, seed in (("one", 1), ("two", 2)):
        write_png(picture(224, 224, seed), tmp_path / folder / "photo.png")
    asked = (tmp_path / "one", tmp_path / "two", "--weights", weights["base"], "--attack", "random_sign")
    attacked(run, *asked, "--out", tmp_path / "out")
    written = {path.name: read_image(path) for path in (tmp_path / "out").glob("*_sign.png")}
    assert sorted(written) == ["photo-2-random_sign.png", "photo-random_sign.png"]
    assert (written["photo-random_sign.png"] - picture(224, 224, 1)).abs().max() < 5 / 255
    assert (written["photo-2-random_sign.png"] - picture(224, 224, 2)).abs().max() < 5 / 255


def test_a_photograph_is_never_overwritten(run: Run, weights: dict[str, Path], tmp_path: Path) -> None:
    for name in ("a.png", "a-random_sign.png"):
        write_png(picture(224, 224, 1), tmp_path / name)
    before = (tmp_path / "a-random_sign.png").read_bytes()
    asked = ("attack", tmp_path / "a.png", tmp_path / "a-random_sign.png", "--attack", "random_sign")
    ran = run(*asked, "--weights", weights["base"], "--out", tmp_path)
    sentence = f"{tmp_path / 'a-random_sign.png'} is one of the photographs to attack; choose another --out.\n"
    assert (ran.code, ran.err) == (2, sentence)
    assert (tmp_path / "a-random_sign.png").read_bytes() == before


def test_without_out_nothing_is_written_and_the_table_says_what_happened(
    run: Run, photos: Path, weights: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run("attack", photos / "bob.png", "--weights", weights["base"], "--attack", "fgsm")
    title, header, row = ran.out.splitlines()
    assert title.strip() == "base: fgsm(eps=4/255)"
    assert header.split() == ["photo", "before", "8-bit", "change", "float", "levels", "L2", "SSIM", "gradients"]
    _, before, after, change, *_ = row.split()
    assert float(after) - float(before) == pytest.approx(float(change), abs=0.011)
    assert list(tmp_path.iterdir()) == []


def test_good_photographs_are_attacked_beside_bad_ones(
    run: Run, photos: Path, bad_files: dict[str, Path], weights: dict[str, Path]
) -> None:
    asked = ("attack", *bad_files.values(), photos / "ann.png", "--weights", weights["base"], "--attack", "random_sign")
    ran = run(*asked, "--json")
    assert ran.code == 1
    assert [photo["path"] for photo in ran.document["photos"]] == [str(photos / "ann.png")]
    assert [problem["sentence"] for problem in ran.document["problems"]] == ran.err.splitlines()
    assert len(ran.err.splitlines()) == len(bad_files)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--attack", "fgms"), "unknown attack 'fgms'; did you mean 'fgsm'? Known: apgd, "),
        (("--eps", "4"), "eps is in [0, 1] pixel units, got 4; did you mean '4/255'?"),
        (("--attack", "fgsm", "--steps", "3"), "attack 'fgsm' has no option 'steps'"),
        (
            ("--attack", "ifgsm:steps=3", "--steps", "3"),
            "steps is given twice, in --attack 'ifgsm:steps=3' and as --steps",
        ),
        (("--attack", "ifgsm:3"), "--attack takes NAME or NAME:FIELD=VALUE,FIELD=VALUE, got 'ifgsm:3'."),
        (("--objective", "lowr"), "unknown objective 'lowr'; did you mean 'lower'?"),
        (("--objective", "target"), "objective 'target' needs a score;"),
        (("--objective", "squared_shift"), "'ifgsm' starts at the clean image, where 'squared_shift' has no gradient;"),
    ],
)
def test_a_wrong_attack_is_one_sentence_before_any_model_is_loaded(
    run: Run, photos: Path, options: tuple[str, ...], sentence: str
) -> None:
    ran = run("attack", photos / "ann.png", "--weights", "nowhere.pth", *options)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(sentence)
    assert ran.err.count("\n") == 1


def test_an_objective_takes_its_fields(run: Run, photos: Path, weights: dict[str, Path]) -> None:
    asked = (photos / "ann.png", "--weights", weights["base"], "--attack", "ifgsm:steps=2,random_start=true")
    document = attacked(run, *asked, "--objective", "target:score=20", "--seed", "3")
    assert document["objective"] == "target:score=20"
    assert document["attack"].endswith("random_start=True, seed=3)")


def test_an_ensemble_says_which_member_found_each_image(
    run: Run, photos: Path, weights: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRESETS, "quick", Preset(steps=2, queries=3, eot=2))
    asked = (photos / "ann.png", "--weights", weights["base"], "--attack", "ensemble:preset=quick")
    document = attacked(run, *asked, "--objective", "lower")
    assert document["attack"] == "ensemble(eps=4/255, preset=quick)"
    found = document["photos"][0]["results"]["base"]
    reached = found["member_scores"]
    assert list(reached) == ["none", "apgd", "apgd_rank", "square"]
    assert found["member"] == min(reached, key=reached.__getitem__)
    assert found["score"] == pytest.approx(reached[found["member"]], rel=1e-6)
    title, header, row = run("attack", *asked, "--objective", "lower").out.splitlines()
    assert title.strip() == "base: ensemble(eps=4/255, preset=quick)"
    assert header.endswith("found by") and row.endswith(found["member"])


def test_other_attacks_name_no_member(run: Run, photos: Path, weights: dict[str, Path]) -> None:
    document = attacked(run, photos / "ann.png", "--weights", weights["base"], "--attack", "random_sign")
    found = document["photos"][0]["results"]["base"]
    assert (found["member"], found["member_scores"]) == (None, {})
