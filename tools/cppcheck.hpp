/*
 * cppcheck.hpp
 *	  What cppcheck must know of the server instead of its headers: tools/lint includes it before each source file.
 *
 * NOTES
 *	  With the headers themselves it takes minutes, and loses its way in their macros.
 */
#define PG_VERSION_NUM 150000
#define NOTICE 18
#define WARNING 19
#define ERROR 21
#define FATAL 22
#define PANIC 23
[[noreturn]] void leave_the_function();
#define ereport(level, ...)                                                                        \
	do                                                                                             \
	{                                                                                              \
		if ((level) >= ERROR)                                                                      \
			leave_the_function();                                                                  \
	} while (0)
#define elog(level, ...) ereport(level)
#define pg_unreachable() leave_the_function()
#define foreach(cell, list)                                                                        \
	for (cell = list_head(list); (cell) != nullptr; cell = lnext(list, cell))
#define foreach_delete_current(list, cell) list_delete_cell(list, cell)
#define PG_TRY() if (setjmp_returned_zero())
#define PG_CATCH() else
#define PG_FINALLY()
#define PG_END_TRY()
#define PG_RE_THROW() leave_the_function()
