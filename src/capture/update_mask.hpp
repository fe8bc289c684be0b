/*
 * update_mask.hpp
 *	  Bit arithmetic of "__$update_mask": pure, constexpr, no server calls.
 *
 * NOTES
 *	  SQL Server's layout: ceil(n / 8) bytes for n captured columns, big-endian, so ordinal 1 is the
 *	  least significant bit of the last byte. "All columns" sets the n defined bits and leaves the
 *	  unused high bits of the first byte 0. With 9 columns: ordinal 1 is \x0001, ordinal 9 \x0100,
 *	  all \x01ff.
 *
 *	  Every function takes the bytes of the mask without varlena header. Ordinals are 1-based; the
 *	  caller of update_mask_set answers for the range, update_mask_test answers false outside it
 *	  (a mask that is shorter than the instance's column list says nothing about later columns).
 */
#pragma once

#include <cstdint>
#include <cstring>

namespace cdc::capture
{

/* Bytes of the mask of an instance with ncolumns captured columns. */
constexpr int
update_mask_bytes(int ncolumns)
{
	return (ncolumns + 7) / 8;
}

/* Sets the bit of one captured column: 1 <= ordinal <= 8 * nbytes. */
constexpr void
update_mask_set(uint8_t *mask, int nbytes, int ordinal)
{
	const int bit = ordinal - 1;

	mask[nbytes - 1 - bit / 8] |= static_cast<uint8_t>(1u << (bit % 8));
}

/* Whether the bit of a captured column is set; false for an ordinal the mask does not reach. */
constexpr bool
update_mask_test(const uint8_t *mask, int nbytes, int ordinal)
{
	const int bit = ordinal - 1;

	if (bit < 0 || bit / 8 >= nbytes)
		return false;
	return (mask[nbytes - 1 - bit / 8] >> (bit % 8)) & 1;
}

/* Fills update_mask_bytes(ncolumns) bytes with every defined bit set. */
constexpr void
update_mask_all(uint8_t *mask, int ncolumns)
{
	const int nbytes = update_mask_bytes(ncolumns);

	for (int i = 0; i < nbytes; i++)
		mask[i] = 0xff;
	if (ncolumns % 8 != 0)
		mask[0] = static_cast<uint8_t>((1u << (ncolumns % 8)) - 1);
}

/* Clears update_mask_bytes(ncolumns) bytes. */
constexpr void
update_mask_clear(uint8_t *mask, int ncolumns)
{
	for (int i = 0; i < update_mask_bytes(ncolumns); i++)
		mask[i] = 0;
}

/*
 * ORs `from` into `into`, both right-aligned: ordinal 1 is the last byte of either, whatever their
 * lengths. `into` must be at least as long.
 */
constexpr void
update_mask_or(uint8_t *into, int into_bytes, const uint8_t *from, int from_bytes)
{
	for (int i = 1; i <= from_bytes; i++)
		into[into_bytes - i] |= from[from_bytes - i];
}

/* The layout, proven at compile time against the table of SQL Server's masks. */
namespace update_mask_check
{
constexpr bool
all_is(int ncolumns, int nbytes, uint8_t first, uint8_t last)
{
	uint8_t mask[128] = {};

	update_mask_all(mask, ncolumns);
	return update_mask_bytes(ncolumns) == nbytes && mask[0] == first && mask[nbytes - 1] == last;
}

constexpr bool
one_is(int ncolumns, int ordinal, int byte, uint8_t value)
{
	uint8_t mask[128] = {};
	const int nbytes = update_mask_bytes(ncolumns);

	update_mask_set(mask, nbytes, ordinal);
	for (int i = 0; i < nbytes; i++)
		if (mask[i] != (i == byte ? value : 0))
			return false;
	return update_mask_test(mask, nbytes, ordinal);
}

static_assert(all_is(4, 1, 0x0f, 0x0f) && all_is(7, 1, 0x7f, 0x7f) && all_is(8, 1, 0xff, 0xff));
static_assert(all_is(9, 2, 0x01, 0xff) && all_is(16, 2, 0xff, 0xff) && all_is(17, 3, 0x01, 0xff));
static_assert(one_is(4, 1, 0, 0x01) && one_is(4, 3, 0, 0x04) && one_is(4, 4, 0, 0x08));
static_assert(one_is(9, 1, 1, 0x01) && one_is(9, 3, 1, 0x04) && one_is(9, 9, 0, 0x01));
static_assert(one_is(16, 16, 0, 0x80) && one_is(17, 17, 0, 0x01) && one_is(17, 9, 1, 0x01));
} // namespace update_mask_check

} // namespace cdc::capture
