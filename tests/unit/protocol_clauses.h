/* protocol_clauses.h - the clauses of docs/protocol.md that are about more than bytes: what a company does
 * (test_protocol_company.c), what weights and units are (test_protocol_units.c). */
#ifndef TR_TESTS_PROTOCOL_CLAUSES_H
#define TR_TESTS_PROTOCOL_CLAUSES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { COMPANY_CLAUSES = 21, UNIT_CLAUSES = 11 };

extern const struct CMUnitTest company_clauses[COMPANY_CLAUSES],
    unit_clauses[UNIT_CLAUSES];

#endif
