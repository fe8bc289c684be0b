/*
 * column_versions.cpp
 *	  Which types can be stored, joined and shown as which.
 */
#include "cdc.hpp"

#include "catalog/column_versions.hpp"

extern "C" {
#include "catalog/pg_collation_d.h"
}

namespace cdc::catalog
{

namespace
{

struct TypePair
{
	Oid from;
	Oid to;
};

/* Casts of the server that keep every value and never fail, to types without a modifier. */
constexpr TypePair kWidenings[] = {
	{INT2OID, INT4OID},		{INT2OID, INT8OID},		   {INT2OID, NUMERICOID},
	{INT2OID, FLOAT4OID},	{INT2OID, FLOAT8OID},	   {INT4OID, INT8OID},
	{INT4OID, NUMERICOID},	{INT4OID, FLOAT8OID},	   {INT8OID, NUMERICOID},
	{FLOAT4OID, FLOAT8OID}, {OIDOID, INT8OID},		   {CIDROID, INETOID},
	{TIMEOID, INTERVALOID}, {MACADDROID, MACADDR8OID}, {BITOID, VARBITOID},
	{TEXTOID, VARCHAROID},	{BPCHAROID, VARCHAROID},   {NAMEOID, VARCHAROID},
};

bool
is_text_or_varchar(Oid type)
{
	return type == TEXTOID || type == VARCHAROID;
}

/* A modifier that admits what both admit; -1: none. */
int32
typmod_join(Oid type, int32 a, int32 b)
{
	if (a == b)
		return a;
	if (a < 0 || b < 0)
		return -1;
	switch (type)
	{
		/* A length or a number of digits, and a longer one leaves shorter values as they are. */
		case VARCHAROID:
		case VARBITOID:
		case TIMEOID:
		case TIMETZOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return Max(a, b);
		case NUMERICOID:
			/* precision and scale; with another scale old values would have to be rewritten */
			return ((a - VARHDRSZ) & 0xffff) == ((b - VARHDRSZ) & 0xffff) ? Max(a, b) : -1;
		default:
			return -1;
	}
}

Oid
collation_of(std::span<const ColumnVersion> versions, Oid type)
{
	if (!type_is_collatable(type))
		return InvalidOid;
	for (const ColumnVersion &version : versions)
		if (version.current && OidIsValid(version.type.collation))
			return version.type.collation;
	return DEFAULT_COLLATION_OID;
}

/* column_type_widens for what is no array. */
bool
scalar_widens(const ColumnType &from, const ColumnType &to)
{
	if (from.type == to.type)
		return typmod_join(to.type, to.typmod, from.typmod) == to.typmod;
	if (to.typmod >= 0)
		return false;
	if (to.type == TEXTOID)
		return true;
	for (const TypePair &pair : kWidenings)
		if (pair.from == from.type && pair.to == to.type)
			return true;
	return false;
}

} // namespace

bool
column_type_equal(const ColumnType &a, const ColumnType &b)
{
	return a.type == b.type && a.typmod == b.typmod && a.collation == b.collation;
}

bool
column_type_stores(const ColumnType &column, const ColumnType &value)
{
	return column.type == value.type ||
		   (is_text_or_varchar(column.type) && is_text_or_varchar(value.type)) ||
		   (column.type == INETOID && value.type == CIDROID);
}

ColumnType
column_type_join(const ColumnType &column, const ColumnType &value)
{
	ColumnType result = column;

	if (is_text_or_varchar(column.type) && column.type != value.type)
	{
		result.type = TEXTOID;
		result.typmod = -1;
	}
	else if (column.type == value.type)
		result.typmod = typmod_join(column.type, column.typmod, value.typmod);
	if (OidIsValid(value.collation))
		result.collation = value.collation;
	return result;
}

bool
column_type_widens(const ColumnType &from, const ColumnType &to)
{
	if (scalar_widens(from, to))
		return true;

	Oid from_element = get_element_type(from.type);
	Oid to_element = get_element_type(to.type);
	return from.type != to.type && to.typmod < 0 && OidIsValid(from_element) &&
		   OidIsValid(to_element) && from_element < FirstNormalObjectId &&
		   scalar_widens({from_element, from.typmod, InvalidOid}, {to_element, -1, InvalidOid});
}

ColumnType
column_reader_type(std::span<const ColumnVersion> versions)
{
	auto all_widen_to = [&](const ColumnType &type) {
		for (const ColumnVersion &version : versions)
			if (!column_type_widens(version.type, type))
				return false;
		return true;
	};

	if (versions.size() == 1)
		return versions[0].type;
	for (bool with_typmod : {true, false})
		for (const ColumnVersion &version : versions)
		{
			ColumnType type = version.type;
			if (!with_typmod)
				type.typmod = -1;
			if (!all_widen_to(type))
				continue;
			type.collation = collation_of(versions, type.type);
			return type;
		}
	return {TEXTOID, -1, collation_of(versions, TEXTOID)};
}

char *
column_version_name(int ordinal, AttrNumber attnum)
{
	return psprintf("__$%d_%d", ordinal, attnum);
}

int
column_version_ordinal(const char *name)
{
	constexpr std::string_view kPrefix = "__$";
	char *end;

	if (strncmp(name, kPrefix.data(), kPrefix.size()) != 0)
		return 0;
	long ordinal = strtol(name + kPrefix.size(), &end, 10);
	return *end == '_' && ordinal > 0 && ordinal <= MaxAttrNumber ? static_cast<int>(ordinal) : 0;
}

} // namespace cdc::catalog
