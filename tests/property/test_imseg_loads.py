"""Law 3 for imseg: numpy reads what was written, with the values that training expects."""

import io
import zlib

import numpy as np
import pytest
from scipy import ndimage

from dsgen.choices import Wanted
from dsgen.npy import npy_header
from dsgen.workloads import imseg, plan
from dsgen.workloads.imseg_voxels import HIGHEST, LOWEST


def whole(layout, file):
    parts = [
        b
        for s in range(file.segment_count)
        for b in map(np.copy, imseg.blocks(layout, file, s, {}))
    ]
    return np.concatenate(parts).tobytes()


@pytest.fixture(scope="module", params=imseg.FORMATS["npy"].laws)
def pair(request):
    layout = plan("imseg", size_bytes=1, seed=5, wanted=Wanted(law=request.param))
    return [np.load(io.BytesIO(whole(layout, file))) for file in layout.files]


def test_numpy_writes_the_same_file():
    layout = plan("imseg", size_bytes=1, seed=5, wanted=Wanted(law="small"))
    for file in layout.files:
        mine = whole(layout, file)
        theirs = io.BytesIO()
        np.save(theirs, np.load(io.BytesIO(mine)))
        assert theirs.getvalue() == mine


@pytest.mark.parametrize("shape", [(1, 128, 186, 186), (1, 471, 444, 444), (1, 157, 192, 299)])
@pytest.mark.parametrize("descr", ["<f4", "|u1"])
def test_header_equals_numpys(shape, descr):
    theirs = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        theirs, {"descr": descr, "fortran_order": False, "shape": shape}
    )
    assert npy_header(descr, shape) == theirs.getvalue()


def test_volume_has_the_reference_range_exactly(pair):
    volume, _ = pair
    assert volume.dtype == np.dtype("<f4")
    assert volume.shape[0] == 1
    assert min(volume.shape[1:]) >= 128
    assert volume.min() == LOWEST == np.float32(-2.340702)
    assert volume.max() == HIGHEST == np.float32(2.639792)
    # A clipped CT: more than half of it lies at the lower end.
    assert 0.5 < (volume == LOWEST).mean() < 0.7


def test_mask_is_a_handful_of_compact_blobs(pair):
    volume, mask = pair
    assert mask.dtype == np.dtype("u1")
    assert mask.shape == volume.shape
    assert set(np.unique(mask)) == {0, 1, 2}
    components, count = ndimage.label(mask[0] > 0)
    assert 1 <= count <= 6
    for box in ndimage.find_objects(components):
        inside = (components[box] > 0).mean()
        assert inside > 0.3, "a blob fills its bounding box as an ellipsoid does"


@pytest.mark.parametrize("law", imseg.FORMATS["npy"].laws)
def test_every_mask_has_both_labels(law):
    layout = plan("imseg", size_bytes=2 * 10**9, seed=6, wanted=Wanted(law=law))
    masks = [file for file in layout.files if file.file_class == "y"]
    for file in masks[:4]:
        mask = np.load(io.BytesIO(whole(layout, file)))
        assert {1, 2} <= set(np.unique(mask)), file.path


def test_small_and_deep_volumes_have_blobs_inside():
    from dsgen.workloads.imseg_voxels import _blobs_of

    for shape in [(1, 128, 186, 186), (1, 471, 444, 444), (1, 128, 444, 444), (1, 157, 192, 299)]:
        for seed in range(50):
            for blob in _blobs_of(shape, seed, 0):
                for at, reach, size in zip(blob.centre, blob.axes, shape[1:], strict=True):
                    assert reach <= at < size - reach, (shape, seed, blob)


def test_incompressible_volumes_are_finite_in_range_and_hardly_deflate():
    wanted = Wanted(law="small", entropy="incompressible")
    layout = plan("imseg", size_bytes=1, seed=5, wanted=wanted)
    volume, mask = (np.load(io.BytesIO(whole(layout, file))) for file in layout.files)
    assert np.isfinite(volume).all()
    assert LOWEST <= volume.min() < -1.9
    assert 1.9 < volume.max() <= HIGHEST
    raw = volume.tobytes()[: 2**22]
    assert len(zlib.compress(raw, 1)) > 0.95 * len(raw)
    assert set(np.unique(mask)) == {0, 1, 2}, "masks stay what training needs"
