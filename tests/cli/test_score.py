"""`robustiqa score`: numbers against autograd by hand, and every bad input's sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from robustiqa.attacks import create_attack
from robustiqa.cli.score import FirstOrder, tangent
from robustiqa.core.image_files import read_image, write_png
from robustiqa.core.model import ScoreScale
from robustiqa.models.crop_average import CropAverage
from robustiqa.models.loading import load_model
from tests.cli.conftest import LIGHT, Run, picture


def by_hand(weights: Path, photo: Path, **options: Any) -> tuple[float, float]:
    """Score and gradient L1 norm of a photograph, by one backward pass."""
    model = CropAverage(load_model(weights), **options).eval()
    image = read_image(photo)[None].requires_grad_()
    score = model(image)
    score.sum().backward()
    assert image.grad is not None
    return score.item(), image.grad.abs().sum().item()


def test_scores_and_gradient_norms_are_those_of_the_whole_photograph(
    run: Run, photos: Path, weights: dict[str, Path]
) -> None:
    ran = run("score", photos, "--weights", weights["base"], "--weights", weights["nt"], "--no-range", "--json")
    assert (ran.code, ran.err) == (0, "")
    found = ran.document["photos"]
    assert [Path(photo["path"]).name for photo in found] == ["ann.png", "bob.png"]
    for photo in found:
        assert list(photo["scores"]) == ["base", "nt"]
        for label, values in photo["scores"].items():
            score, norm = by_hand(weights[label], Path(photo["path"]))
            assert values["score"] == pytest.approx(score, rel=1e-4)
            assert values["gradient_l1"] == pytest.approx(norm, rel=1e-3)
            assert values["range"] is None


def test_the_range_is_what_a_short_attack_reaches_in_both_directions(
    run: Run, photos: Path, weights: dict[str, Path]
) -> None:
    photo = photos / "ann.png"
    ran = run("score", photo, "--weights", weights["base"], "--eps", "2/255", "--json")
    assert ran.document["range_attack"] == "ifgsm(eps=2/255, steps=5, step_size=1/255)"
    assert ran.document["eps"] == pytest.approx(2 / 255)
    values = ran.document["photos"][0]["scores"]["base"]
    model = CropAverage(load_model(weights["base"])).eval()
    image = read_image(photo)[None]
    reached = [
        create_attack("ifgsm", eps="2/255", steps=5, objective=goal)(model, image).scores_8bit.item()
        for goal in ("lower", "raise")
    ]
    assert values["range"] == pytest.approx([min(reached), max(reached)], rel=1e-4)
    assert values["range"][0] < values["score"] < values["range"][1]


def test_first_order_is_clipped_to_the_scale_and_marked_beyond_a_quarter_of_it() -> None:
    scale = ScoreScale(0, 100)
    assert tangent(40.0, 1000.0, 0.01, scale) == FirstOrder(30.0, 50.0, False)
    assert tangent(40.0, 2500.0, 0.01, scale) == FirstOrder(15.0, 65.0, False)
    assert tangent(40.0, 2600.0, 0.01, scale) == FirstOrder(14.0, 66.0, True)
    assert tangent(40.0, 23_100.0, 0.01, scale) == FirstOrder(0.0, 100.0, True)
    assert tangent(120.0, 100.0, 0.01, scale) == FirstOrder(100.0, 100.0, False)


def test_first_order_comes_only_when_asked_for(run: Run, photos: Path, weights: dict[str, Path]) -> None:
    asked = ("score", photos / "ann.png", "--weights", weights["base"], "--no-range", "--eps", "0.1")
    plain, more = run(*asked), run(*asked, "--first-order")
    assert "first order" not in plain.out
    assert "first order" in more.out
    values = run(*asked, "--first-order", "--json").document["photos"][0]["scores"]["base"]
    expected = tangent(values["score"], values["gradient_l1"], 0.1, ScoreScale())
    assert values["first_order"] == vars(expected)
    assert ("beyond linear" in more.out) == expected.beyond_linear


def test_the_table_shows_whole_numbers_of_every_model_without_a_terminal(
    run: Run, photos: Path, weights: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    asked = ("score", photos / "bob.png", "--weights", weights["base"], "--weights", weights["nt"])
    table, document = run(*asked).out, run(*asked, "--json").document
    for photo in document["photos"]:
        (line,) = [line for line in table.splitlines() if line.startswith(photo["path"])]
        for values in photo["scores"].values():
            low, high = values["range"]
            assert f"{values['score']:.2f}" in line
            assert f"{values['gradient_l1']:.1f}" in line
            assert f"{low:.2f} .. {high:.2f}" in line
    assert "base: score" in table and "nt: score" in table


def test_random_crops_depend_on_their_seed_alone(run: Run, photos: Path, weights: dict[str, Path]) -> None:
    asked = ("score", photos / "ann.png", "--weights", weights["base"], "--no-range", "--crops", "2", "--json")

    def score(*more: object) -> float:
        found: float = run(*asked, *more).document["photos"][0]["scores"]["base"]["score"]
        return found

    assert score("--crop-seed", "7") == pytest.approx(
        by_hand(weights["base"], photos / "ann.png", crops=2, seed=7)[0], rel=1e-4
    )
    assert score("--seed", "7") == score("--crop-seed", "7", "--seed", "3") != score("--crop-seed", "8")


def test_batches_and_workers_change_no_score(run: Run, photos: Path, weights: dict[str, Path]) -> None:
    asked = ("score", photos, "--recursive", "--weights", weights["base"], "--no-range", "--json")
    one = run(*asked, "--workers", "0").document["photos"]
    together = run(*asked, "--batch-size", "3", "--workers", "3").document["photos"]
    assert [photo["path"] for photo in one] == [photo["path"] for photo in together]
    assert len(one) == 3
    for single, batched in zip(one, together, strict=True):
        assert batched["scores"]["base"]["score"] == pytest.approx(single["scores"]["base"]["score"], rel=1e-4)


def test_a_published_checkpoint_is_scored_when_its_model_is_named(
    run: Run, photos: Path, weights: dict[str, Path], tmp_path: Path
) -> None:
    checkpoint = tmp_path / "published.pth"
    torch.save({"model": load_model(weights["base"]).state_dict()}, checkpoint)
    asked = ("score", photos / "ann.png", "--weights", checkpoint, "--no-range", "--json")
    refused = run(*asked)
    assert refused.code == 2
    assert refused.err == f"{checkpoint} does not say which model it is for; name one, such as hyperiqa.\n"
    assert run(*asked, "--model", "hyperiqa", "--backbone", LIGHT).code == 0


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("text", "{path} is not a JPEG, PNG, BMP, WebP or TIFF file, whatever its name; convert or remove it.\n"),
        ("empty", "{path} is an empty file; get an intact copy.\n"),
        ("missing", "expected an image file or a folder at {path}, found nothing; check the path.\n"),
        (
            "small",
            "{path} is 240x100 pixels, smaller than the 224x224 crop that the model takes; "
            "pass --small pad to extend it by reflection.\n",
        ),
    ],
)
def test_no_usable_input_is_one_sentence_and_exit_code_2(
    run: Run, bad_files: dict[str, Path], weights: dict[str, Path], kind: str, sentence: str
) -> None:
    ran = run("score", bad_files[kind], "--weights", weights["base"])
    assert (ran.code, ran.out, ran.err) == (2, "", sentence.format(path=bad_files[kind]))


def test_a_truncated_jpeg_is_one_sentence_with_the_decoders_reason(
    run: Run, bad_files: dict[str, Path], weights: dict[str, Path]
) -> None:
    ran = run("score", bad_files["cut"], "--weights", weights["base"])
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"{bad_files['cut']} is damaged or cut short (")
    assert ran.err.endswith("); get an intact copy.\n")
    assert ran.err.count("\n") == 1


def test_several_unusable_inputs_are_still_one_sentence(
    run: Run, bad_files: dict[str, Path], weights: dict[str, Path]
) -> None:
    ran = run("score", bad_files["empty"], bad_files["text"], "--weights", weights["base"])
    first = f"{bad_files['empty']} is an empty file; get an intact copy."
    assert (ran.code, ran.out, ran.err) == (2, "", f"none of the 2 inputs can be used; the first: {first}\n")


def test_good_photographs_are_scored_beside_bad_ones_which_each_get_their_sentence(
    run: Run, photos: Path, bad_files: dict[str, Path], weights: dict[str, Path]
) -> None:
    asked = ("score", photos / "ann.png", *bad_files.values(), photos / "bob.png", "--weights", weights["base"])
    ran = run(*asked, "--no-range")
    assert ran.code == 1
    assert [line.split()[0] for line in ran.out.splitlines()[1:]] == [
        str(photos / "ann.png"),
        str(photos / "bob.png"),
    ]
    assert len(ran.err.splitlines()) == len(bad_files)
    assert all(sum(str(path) in line for line in ran.err.splitlines()) == 1 for path in bad_files.values())
    document = run(*asked, "--no-range", "--json").document
    assert [problem["sentence"] for problem in document["problems"]] == ran.err.splitlines()
    assert {problem["path"] for problem in document["problems"]} == set(map(str, bad_files.values()))


def test_a_small_photograph_is_padded_on_request(
    run: Run, bad_files: dict[str, Path], weights: dict[str, Path]
) -> None:
    ran = run("score", bad_files["small"], "--weights", weights["base"], "--small", "pad", "--no-range", "--json")
    assert ran.code == 0
    score, _ = by_hand(weights["base"], bad_files["small"], small="pad")
    assert ran.document["photos"][0]["scores"]["base"]["score"] == pytest.approx(score, rel=1e-4)


def test_a_folder_means_the_images_in_it(run: Run, weights: dict[str, Path], tmp_path: Path) -> None:
    ran = run("score", tmp_path, "--weights", weights["base"])
    assert ran.code == 2
    assert ran.err.startswith(f"expected images in the folder {tmp_path}, found none; looked for .bmp")
    write_png(picture(224, 224, 0), tmp_path / "below" / "photo.png")
    ran = run("score", tmp_path, "--weights", weights["base"])
    below = f"expected images in the folder {tmp_path}, found none; there are some below it: pass --recursive.\n"
    assert (ran.code, ran.err) == (2, below)
    assert run("score", tmp_path, "--recursive", "--weights", weights["base"], "--no-range").code == 0


def test_a_file_named_twice_is_scored_once(run: Run, photos: Path, weights: dict[str, Path]) -> None:
    again = photos / "below" / ".." / "ann.png"
    ran = run("score", photos / "ann.png", again, photos, "--weights", weights["base"], "--no-range", "--json")
    assert [Path(photo["path"]).name for photo in ran.document["photos"]] == ["ann.png", "bob.png"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--eps", "4"), "eps is in [0, 1] pixel units, got 4; did you mean '4/255'?"),
        (("--eps", "a"), "eps must be a number or a fraction like '4/255', got 'a'."),
        (("--small", "stretch"), "small must be 'refuse' or 'pad', got 'stretch'."),
        (("--device", "tpu9"), "--device takes auto, cpu, cuda, cuda:N or mps, got 'tpu9'."),
        (("--weights", "nowhere.pth"), "there is no weights file nowhere.pth. Shipped weights:"),
    ],
)
def test_a_wrong_option_is_one_sentence_and_exit_code_2(
    run: Run, photos: Path, weights: dict[str, Path], options: tuple[str, ...], sentence: str
) -> None:
    ran = run("score", photos / "ann.png", "--weights", weights["base"], *options)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(sentence)
    assert ran.err.count("\n") == 1


def test_a_file_that_holds_no_weights_is_one_sentence(run: Run, photos: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.safetensors"
    wrong.write_bytes(b"nothing of the kind")
    ran = run("score", photos / "ann.png", "--weights", wrong)
    assert ran.code == 2
    assert ran.err.startswith(f"{wrong} is not a safetensors file or is cut short (")


def test_weights_for_another_backbone_are_one_sentence(run: Run, photos: Path, weights: dict[str, Path]) -> None:
    ran = run("score", photos / "ann.png", "--weights", weights["base"], "--backbone", "resnet18")
    sentence = f"{weights['base']} was trained with backbone='{LIGHT}', not 'resnet18'.\n"
    assert (ran.code, ran.err) == (2, sentence)


def test_without_weights_the_first_line_says_that_the_models_are_a_demonstration(
    run: Run, photos: Path, weights: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = {"demo-baseline": weights["base"], "demo-nt": weights["nt"]}
    monkeypatch.setattr("robustiqa.models.files.shipped_weights", lambda: shipped)
    ran = run("score", photos / "ann.png", "--no-range")
    note = "These are the demonstration models that ship with robustiqa; they are no judge of photographs."
    assert ran.code == 0
    assert ran.out.splitlines()[0] == note
    assert "demo-baseline: score" in ran.out and "demo-nt: score" in ran.out
    assert run("score", photos / "ann.png", "--no-range", "--json").document["note"] == note


def test_without_weights_and_without_shipped_ones_there_is_a_sentence(
    run: Run, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("robustiqa.models.files.shipped_weights", dict)
    ran = run("score", photos / "ann.png")
    sentence = "no demonstration weights ship with this installation; name a file with --weights.\n"
    assert (ran.code, ran.out, ran.err) == (2, "", sentence)
