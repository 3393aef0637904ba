"""Every format that Pillow opens, by name or by content, upright as the camera was held, at the right brightness."""

import os
import socket
from pathlib import Path

import numpy as np
import pytest
import torchvision.transforms as transforms
from PIL import Image, ImageOps

from prunectl.data.decode import Decoder, decoder_like
from prunectl.data.load import load_data
from prunectl.data.sets.imagefolder import imagefolder
from prunectl.data.source import NetworkInput
from prunectl.errors import DataError
from tests.helpers.dataset_files import one_line, write_tree

# DataLoader forks; Python 3.12 and later say that threads may not survive that, and none of ours is needed there
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
NAMES = ("a.tif", "b.TIFF", "c.gif", "d.ppm", "e.jp2", "f.avif", "g.qoi", "h.tga", "i.jfif", "j.ico", "k.dib", "l.apng")
SAVED_AS = {"b.TIFF": "TIFF", "i.jfif": "JPEG", "l.apng": "PNG", "f.avif": "AVIF"}


def test_every_usual_suffix_is_an_image(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "pets")
    for i, name in enumerate(NAMES):
        Image.new("RGB", (16, 16), (100 + i,) * 3).save(root / "train" / "dog" / name, SAVED_AS.get(name))
    data = load_data(f"imagefolder:{root}")
    assert data.notices == ()
    assert data.train.labels.tolist() == [0] * 2 + [1] * 14
    found = data.train.pixels[4:, 0, 4, 4].int()  # after the two PNGs, whose names are digits
    assert max(abs(level - 100 - i) for i, level in enumerate(found.tolist())) <= 3


def test_a_class_of_tif_files_alone_does_not_vanish(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "scans")
    for part in ("train", "test"):
        (root / part / "eel").mkdir()
        Image.new("RGB", (8, 8), (7, 7, 7)).save(root / part / "eel" / "0.tif")
    data = load_data(f"imagefolder:{root}")
    assert (data.classes, data.test.labels.tolist()) == (("cat", "dog", "eel"), [0, 1, 2])
    assert data.train.pixels[4].eq(7).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "GIF", "WEBP", "PPM", "BMP"])
def test_content_decides_where_the_name_says_nothing(tmp_path: Path, kind: str) -> None:
    root = write_tree(tmp_path / "pets")
    Image.new("RGB", (8, 8), (200,) * 3).save(root / "train" / "cat" / "5f3a", kind)
    (root / "train" / "cat" / "9").write_bytes(bytes(1000))  # all that a TGA would need
    data = load_data(f"imagefolder:{root}")
    assert (len(data.train), abs(int(data.train.pixels[2, 0, 0, 0]) - 200) <= 2) == (5, True)
    assert data.notices == (f"{root}/train: skipped 1 file that is not an image (cat/9)",)


def test_what_is_skipped_is_counted_and_named(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "pets")
    for i in range(1200):
        (root / "train" / "cat" / f"x{i:04}.heic").write_bytes(b"")
    for name in ("eel", "elk"):
        (root / "train" / name).mkdir()
        (root / "train" / name / "a.heic").write_bytes(b"no format that Pillow opens")
    (root / "test" / "dog" / "0.png").unlink()
    assert load_data(f"imagefolder:{root}").notices == (
        f"{root}/train: 2 classes have no readable image and are left out (eel, elk)",
        f"{root}/train: skipped 1,202 files that are not images (cat/x0000.heic, cat/x0001.heic, cat/x0002.heic, ...)",
        f"{root}: 1 of 2 classes have no test images (dog)",
    )


def test_pipes_sockets_and_devices_are_not_opened(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "pets")
    os.mkfifo(root / "train" / "cat" / "pipe.jpg")
    (root / "train" / "cat" / "zero.png").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as one, pytest.MonkeyPatch.context() as patch:
        patch.chdir(root / "train" / "dog")  # the name of a socket is short
        one.bind("s.jpg")
        data = load_data(f"imagefolder:{root}")
    assert len(data.train) == 4
    assert data.notices == (
        f"{root}/train: skipped 3 files that are not images (cat/pipe.jpg, cat/zero.png, dog/s.jpg)",
    )


def test_links_that_lead_back_up_end(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "pets")
    (root / "train" / "cat" / "up").symlink_to("..")
    (root / "train" / "cat" / "me").symlink_to(".")
    (root / "train" / "dog" / "itself").symlink_to("itself")
    (root / "train" / "again").symlink_to(root)
    data = load_data(f"imagefolder:{root}")
    assert (data.classes, len(data.train)) == (("cat", "dog"), 4)
    assert data.notices == (
        f"{root}/train: skipped 1 file that is not an image (dog/itself)",
        f"{root}/train: 3 links lead back to a folder above, not followed (again, cat/me, cat/up)",
    )


def test_two_folders_that_link_to_each_other_end(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "pets")
    for name, other in (("a", "b"), ("b", "a")):
        (root / "train" / "cat" / name).mkdir()
        (root / "train" / "cat" / name / other).symlink_to(f"../{other}")
    (root / "train" / "cat" / "0.png").rename(root / "train" / "cat" / "a" / "0.png")
    data = load_data(f"imagefolder:{root}")
    assert data.train.pixels[:, 0, 0, 0].tolist() == [20, 10, 30, 40]  # each folder once
    assert data.notices == (
        f"{root}/train: 2 links lead to folders that are read by another name, not followed (cat/a/b, cat/b/a)",
    )


def test_links_elsewhere_are_followed_and_broken_ones_named(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "pets")
    (root / "train" / "dog").rename(tmp_path / "dogs")
    (root / "train" / "dog").symlink_to(tmp_path / "dogs")
    assert len(load_data(f"imagefolder:{root}").train) == 4
    (root / "train" / "dog" / "2.jpg").symlink_to("nowhere.jpg")
    with pytest.raises(DataError, match=r"dog/2\.jpg: expected a whole image, found: No such file or directory"):
        load_data(f"imagefolder:{root}")


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_tree(tmp_path / "pets")
    (root / "train" / "cat" / "secret").mkdir()
    listed = os.scandir

    def scandir(place: str) -> object:
        if str(place).endswith("secret"):
            raise PermissionError(13, "Permission denied")
        return listed(place)

    monkeypatch.setattr("os.scandir", scandir)
    assert load_data(f"imagefolder:{root}").notices == (
        f"{root}/train: skipped 1 file that is not an image (cat/secret)",
    )


def pattern(width: int = 48, height: int = 32) -> Image.Image:
    """Smooth, so that JPEG keeps it, and different in every corner."""
    x, y = np.meshgrid(np.arange(width) / width, np.arange(height) / height)
    return Image.fromarray(np.stack([255 * x, 255 * y, 255 * x * y], 2).astype(np.uint8))


@pytest.mark.parametrize("kind", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_images_upright(tmp_path: Path, orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    pattern().save(tmp_path / f"turned.{kind}", exif=exif, quality=100)
    with Image.open(tmp_path / f"turned.{kind}") as image:
        upright = ImageOps.exif_transpose(image)
        upright.save(tmp_path / "upright.png", exif=Image.Exif())
    turned, expected = (Decoder(32, "RGB")(str(tmp_path / name)) for name in (f"turned.{kind}", "upright.png"))
    assert np.abs(turned.astype(int) - expected).max() <= (6 if kind == "jpg" else 0)  # draft() decodes as RGB too
    assert decoder_like([str(tmp_path / f"turned.{kind}")], None).size == (48 if orientation > 4 else 32)


def test_xmp_may_say_it_instead(tmp_path: Path) -> None:
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    pattern().save(tmp_path / "a.webp", xmp=xmp, lossless=True)
    expected = Decoder(32, "RGB").decode(pattern().transpose(Image.Transpose.ROTATE_270))
    assert (Decoder(32, "RGB")(str(tmp_path / "a.webp")) == expected).all()


def test_a_rotated_jpeg_is_still_decoded_small(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    pattern(512, 384).save(tmp_path / "a.jpg", exif=exif, quality=95)
    small = Decoder(16, "RGB")(str(tmp_path / "a.jpg")).astype(int)
    corners = small[:2, [0, 0, 15, 15], [0, 15, 0, 15]]  # red and green, top to bottom, left to right
    middle = np.array([[1 / 8, 1 / 8, 7 / 8, 7 / 8], [1, 0, 1, 0]]) * 255  # the middle 384 of 512 columns
    assert np.abs(corners - middle).max() < 16


@pytest.mark.parametrize("exif", [b"Exif\0\0MM\0*\0\0\0\x08\0", b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\x7f"])
def test_damaged_exif_is_passed_over(tmp_path: Path, exif: bytes) -> None:
    pattern().save(tmp_path / "a.jpg", exif=exif, quality=100)
    pattern().save(tmp_path / "b.jpg", quality=100)
    one, other = (Decoder(32, "RGB")(str(tmp_path / name)) for name in ("a.jpg", "b.jpg"))
    assert (one == other).all()


def test_sixteen_bits_keep_their_upper_eight(tmp_path: Path) -> None:
    levels = np.array([[0, 513, 40_000, 65_535]], np.uint16).repeat(4, 0)
    Image.fromarray(levels).save(tmp_path / "a.tif")
    (tmp_path / "a.pgm").write_bytes(b"P5 4 4 65535\n" + levels.astype(">u2").tobytes())
    for name in ("a.tif", "a.pgm"):
        assert Decoder(4, "L")(str(tmp_path / name))[0, 0].tolist() == [0, 2, 156, 255]
        assert decoder_like([str(tmp_path / name)], None).mode == "L"


@pytest.mark.parametrize("mode", ["I", "F"])
def test_levels_of_unknown_range_are_refused(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (4, 4), 1000).save(tmp_path / "a.tif")
    with pytest.raises(DataError) as error:
        Decoder(4, "L")(str(tmp_path / "a.tif"))
    assert "found: 32-bit gray levels; convert it to 8 or 16 bits" in one_line(error)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest", "lanczos"])
@pytest.mark.parametrize(("side", "short"), [(28, 32), (24, 25), (32, 32)])
@pytest.mark.parametrize("shape", [(75, 50), (50, 61), (40, 40), (20, 33)])
def test_imagenets_rule_is_that_of_torchvision(
    tmp_path: Path, shape: tuple[int, int], side: int, short: int, interpolation: str
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*shape[::-1], 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    image.save(tmp_path / "a.png")
    mode = transforms.InterpolationMode(interpolation)
    theirs = transforms.Compose([transforms.Resize(short, interpolation=mode), transforms.CenterCrop(side)])(image)
    ours = Decoder(side, "RGB", side / short, interpolation)
    if ours != Decoder(side, "RGB"):  # the rule of our own datasets takes the square first
        assert (ours(str(tmp_path / "a.png")) == np.asarray(theirs).transpose(2, 0, 1)).all()


def test_timms_share_of_the_image() -> None:
    image = pattern(472, 236)
    theirs = transforms.Compose([transforms.Resize(235), transforms.CenterCrop(224)])(image)  # floor(224 / 0.95)
    assert (Decoder(224, "RGB", 0.95).decode(image) == np.asarray(theirs).transpose(2, 0, 1)).all()


def test_a_networks_rule_reads_the_folder(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "pets", size=(32, 32))
    ring = Image.new("RGB", (32, 32), (255,) * 3)
    ring.paste((10, 10, 10), (2, 2, 30, 30))
    ring.save(root / "train" / "cat" / "0.png")
    network = NetworkInput((3, 8, 8), 2, crop=0.5)
    data = load_data(f"imagefolder:{root}", image_size=8, network=network)
    assert data.train.pixels[0].eq(10).all()  # resized to 16, of which the middle 8 have no white rim
    assert not load_data(f"imagefolder:{root}", image_size=8).train.pixels[0].eq(10).all()
    stream = imagefolder(root, image_size=8, download=False, progress=None, limit=0, network=network)
    assert next(stream.train.batches(4))[0].equal(data.train.pixels)


def test_the_first_rule_keeps_the_names_of_its_caches() -> None:
    assert str(Decoder(8, "RGB")) == str(Decoder(8, "RGB", 1.0, "bilinear")) == "Decoder(size=8, mode='RGB')"
    assert str(Decoder(8, "L", 0.5, "bicubic")) == "Decoder(size=8, mode='L', crop=0.5, interpolation='bicubic')"


def test_only_the_first_of_several_frames(tmp_path: Path) -> None:
    frames = [Image.new("L", (4, 4), level) for level in (30, 60)]
    for name in ("a.gif", "a.tif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        assert Decoder(4, "L")(str(tmp_path / name)).tolist() == [[[30] * 4] * 4]
