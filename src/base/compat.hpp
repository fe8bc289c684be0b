/*
 * compat.hpp
 *	  Every PG_VERSION_NUM test of the project.
 */
#pragma once

#if PG_VERSION_NUM < 150000
#error "cdc needs PostgreSQL 15 or later"
#endif
