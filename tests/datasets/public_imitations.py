"""Small folders in the official layouts of public datasets: a few lines of labels, tiny pictures, all distinct."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

LIVE_FOLDERS = {"jp2k": 227, "jpeg": 233, "wn": 174, "gblur": 174, "fastfading": 174}
LIVE_REFERENCES = (
    *("bikes", "building2", "buildings", "caps", "carnivaldolls", "cemetry", "churchandcapitol", "coinsinfountain"),
    *("dancers", "flowersonih35", "house", "lighthouse", "lighthouse2", "manfishing", "monarch", "ocean"),
    *("paintedhouse", "parrots", "plane", "rapids", "sailing1", "sailing2", "sailing3", "sailing4", "statue"),
    *("stream", "studentsculpture", "woman", "womanhat"),
)
SPAQ_TABLE = "MOS and Image attribute scores"


def put_pictures(folder: Path, names: Iterable[str]) -> None:
    """Puts a picture of 8 x 6 pixels under each name, no two alike; readers go by the first bytes."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(list(name.encode())).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path, format="PNG")


def write_lines(path: Path, lines: Iterable[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def make_koniq10k(root: Path, rows: Mapping[str, tuple[float, str]], size: str = "1024x768") -> Path:
    """Name to score and part."""
    put_pictures(root / size, rows)
    lines = [f"{name},0.0,0.0,0.2,0.7,0.1,105,{mos},0.5,{part}" for name, (mos, part) in rows.items()]
    write_lines(root / "koniq10k_distributions_sets.csv", ["image_name,c1,c2,c3,c4,c5,c_total,MOS,SD,set", *lines])
    return root


def make_kadid10k(root: Path, scores: Mapping[str, float]) -> Path:
    put_pictures(root / "images", [*scores, *{f"{name[:3]}.png" for name in scores}])
    lines = [f"{name},{name[:3]}.png,{score},0.5" for name, score in scores.items()]
    write_lines(root / "dmos.csv", ["dist_img,ref_img,dmos,var", *lines])
    return root


def make_tid2013(root: Path, scores: Mapping[str, float], stored: Mapping[str, str] | None = None) -> Path:
    """`stored` renames photographs on the disk."""
    put_pictures(root / "distorted_images", [(stored or {}).get(name, name) for name in scores])
    put_pictures(root / "reference_images", {f"{name[:3].upper()}.BMP" for name in scores})
    write_lines(root / "mos_with_names.txt", [f"{score} {name}" for name, score in scores.items()])
    return root


def make_csiq(root: Path, scores: Mapping[str, float], folder: str = "dst_imgs_all") -> Path:
    put_pictures(root / folder, scores)
    put_pictures(root / "src_imgs", {f"{name.split('.')[0]}.png" for name in scores})
    write_lines(root / "csiq_label.txt", [f"{name} {score}" for name, score in scores.items()])
    return root


def make_live(root: Path, scores: Sequence[float], copied: Sequence[int], references: Sequence[str]) -> Path:
    """982 scores, marks and references, in the release's order."""
    from scipy.io import savemat

    put_pictures(
        root, [f"{folder}/img{number}.bmp" for folder, count in LIVE_FOLDERS.items() for number in range(1, count + 1)]
    )
    put_pictures(root / "refimgs", set(references))
    for folder in LIVE_FOLDERS:
        write_lines(root / folder / "info.txt", ["bikes.bmp img1.bmp 0.5"])
    names = np.empty((1, len(references)), dtype=object)
    names[0, :] = references
    savemat(root / "dmos.mat", {"dmos": np.array([scores]), "orgs": np.array([copied], dtype=np.uint8)})
    realigned = np.array([scores]) * 1.1 - 2
    savemat(root / "dmos_realigned.mat", {"dmos_new": realigned, "orgs": np.array([copied], dtype=np.uint8)})
    savemat(root / "refnames_all.mat", {"refnames_all": names})
    return root


def make_spaq(root: Path, scores: Mapping[str, float]) -> Path:
    """With the table as CSV."""
    put_pictures(root / "TestImage", scores)
    lines = [f"{name},{score},47.43,55.57,55.71,37.86,42.57" for name, score in scores.items()]
    header = "Image name,MOS,Brightness,Colorfulness,Contrast,Noisiness,Sharpness"
    write_lines(root / "Annotations" / f"{SPAQ_TABLE}.csv", [header, *lines])
    return root


def make_bid(root: Path, scores: Mapping[int, float], header: str = "Image number,Mean") -> Path:
    """With the table as CSV."""
    put_pictures(root, [f"DatabaseImage{number:04d}.JPG" for number in scores])
    write_lines(root / "DatabaseGrades.csv", [header, *(f"{number},{score}" for number, score in scores.items())])
    return root


def make_flive(
    root: Path, scores: Mapping[str, float], test: Sequence[str], validation: Mapping[str, bool], end: str = "640.csv"
) -> Path:
    database = root / "database"
    put_pictures(database, scores)
    write_lines(database / "labels_image.csv", ["name,mos", *(f"{name},{score}" for name, score in scores.items())])
    lines = [f"70.5,patches/{name.split('/')[1]},75.5,{name}" for name in test]
    write_lines(database / f"labels{end}", ["mos_patch_1,name_patch,mos_image,name_image", *lines])
    lines = [f"{name},75.5,{valid}" for name, valid in validation.items()]
    write_lines(database / "labels=640_padded.csv", ["name_image,mos_image,is_valid", *lines])
    return root


def make_pipal(root: Path, train: Mapping[str, float], validation: Mapping[str, float] | None = None) -> Path:
    """Labels in one file a reference, as released."""
    for folder, label_folder, scores in (
        ("Distortion_1", "Train_Label", train),
        ("Val_Distort", "Val_Label", validation or {}),
    ):
        put_pictures(root / folder, scores)
        for reference in {name.split("_")[0] for name in scores}:
            lines = [f"{name},{score}" for name, score in scores.items() if name.startswith(f"{reference}_")]
            write_lines(root / label_folder / f"{reference}.txt", lines)
    return root


def make_agiqa3k(root: Path, rows: Mapping[str, tuple[str, float]], folder: str = "images") -> Path:
    """Name to text and score."""
    put_pictures(root / folder, rows)
    lines = [f'{name},"{text}",,,,{score},0.5,0.4,0.6' for name, (text, score) in rows.items()]
    header = "name,prompt,adj1,adj2,style,mos_quality,std_quality,mos_align,std_align"
    write_lines(root / "data.csv", [header, *lines])
    return root


def live_like() -> tuple[list[float], list[int], list[str]]:
    """Scores, marks and names of references; 29 references and 203 copies as in the release, the scores made up."""
    references = [f"{LIVE_REFERENCES[place % 29]}.bmp" for place in range(982)]
    copied = [int(place < 203) for place in range(982)]
    scores = [0.0 if copied[place] else 1.0 + place % 100 for place in range(982)]
    return scores, copied, references


def _koniq10k(root: Path) -> Path:
    parts = ("training", "training", "validation", "test")
    return make_koniq10k(root, {f"{place}.jpg": (3.9 + place, parts[place % 4]) for place in range(80)})


def _kadid10k(root: Path) -> Path:
    return make_kadid10k(
        root, {f"I{ref:02d}_01_{level:02d}.png": level - 0.07 for ref in range(1, 82) for level in (2, 5)}
    )


def _tid2013(root: Path) -> Path:
    return make_tid2013(root, {f"I{ref:02d}_03_{level}.bmp": 9.0 / level for ref in range(1, 26) for level in (1, 4)})


def _csiq(root: Path) -> Path:
    return make_csiq(root, {f"scene{ref}.AWGN.{level}.png": level / 5 for ref in range(30) for level in (1, 5)})


def _flive(root: Path) -> Path:
    names = [f"voc_emotic_ava/AVA__{place}.jpg" for place in range(60)]
    scores = {name: 20.0 + place for place, name in enumerate(names)}
    return make_flive(root, scores, names[:10], {name: place % 2 == 0 for place, name in enumerate(names[10:])})


def _pipal(root: Path) -> Path:
    return make_pipal(
        root, {f"A{ref:04d}_0{level}_00.bmp": 900.0 + 300 * level for ref in range(1, 41) for level in range(3)}
    )


def _agiqa3k(root: Path) -> Path:
    return make_agiqa3k(
        root,
        {
            f"{generator}_normal_{place:03d}.jpg": (f"a text, number {place}", score)
            for generator, score in (("AttnGAN", 0.9), ("midjourney", 4.1))
            for place in range(40)
        },
    )


PUBLIC: dict[str, Callable[[Path], Path]] = {
    "agiqa3k": _agiqa3k,
    "bid": lambda root: make_bid(root, {number: number % 6 for number in range(1, 60)}),
    "csiq": _csiq,
    "flive": _flive,
    "kadid10k": _kadid10k,
    "koniq10k": _koniq10k,
    "live": lambda root: make_live(root, *live_like()),
    "pipal": _pipal,
    "spaq": lambda root: make_spaq(root, {f"{number:05d}.jpg": number % 100 for number in range(1, 60)}),
    "tid2013": _tid2013,
}


def public_recipe(name: str) -> Callable[[Path], tuple[str, dict[str, Any]]]:
    """A maker of an imitation that gives back its spec and options."""
    return lambda root: (f"{name}:{PUBLIC[name](root)}", {})
