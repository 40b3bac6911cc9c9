/* SPDX-License-Identifier: Apache-2.0 */
/* What all fixtures need: to wait a moment. */
#ifndef TESTS_INTEGRATION_PAUSE_H
#define TESTS_INTEGRATION_PAUSE_H

void pause_ms(int ms);

#endif
