"""Where the crops of a field lie when all of it is embedded: a centered grid, no overlap. science.md 3."""

from typing import Literal

from phenoscale.errors import UserError

Layout = Literal["grid", "inner", "center"]


def crop_grid(height: int, width: int, *, size: int, inner: bool = False) -> list[tuple[int, int]]:
    """Top-left corners (top, left) of the crops of a field, row by row.

    Args:
        height: the field's pixel rows.
        width: the field's pixel columns.
        size: height and width of a crop; the remainder is left out in equal parts on both sides.
        inner: drop the outer ring of crops (the 6 x 6 of 8 x 8 crops of a 2048 px field).

    Raises:
        UserError: no crop fits.
    """
    check_fits(height, width, size=size)
    rows, columns = height // size, width // size
    ring = 1 if inner else 0
    if rows <= 2 * ring or columns <= 2 * ring:
        raise UserError(
            f"the inner grid of a field of {height} x {width} px has no {size} px crop: {rows} x {columns} "
            "crops fit and the outer ring is dropped; use the whole grid or smaller crops"
        )
    top, left = (height - rows * size) // 2, (width - columns * size) // 2
    return [
        (top + row * size, left + column * size)
        for row in range(ring, rows - ring)
        for column in range(ring, columns - ring)
    ]


def center_crop(height: int, width: int, *, size: int) -> tuple[int, int]:
    """Top-left corner of the crop in the middle of a field; a UserError if the field is smaller."""
    check_fits(height, width, size=size)
    return (height - size) // 2, (width - size) // 2


def corners_of(height: int, width: int, *, size: int, layout: Layout) -> list[tuple[int, int]]:
    """Corners of the crops of a field: the whole grid, the inner one, or the center crop alone."""
    if layout == "center":
        return [center_crop(height, width, size=size)]
    return crop_grid(height, width, size=size, inner=layout == "inner")


def check_fits(height: int, width: int, *, size: int) -> None:
    """Raise a UserError unless a crop fits into a field."""
    if size <= 0 or height < size or width < size:
        raise UserError(
            f"a field of {height} x {width} px holds no crop of {size} px: fields must be at least as "
            "large as a crop; choose a smaller crop_size, or ingest larger fields"
        )
