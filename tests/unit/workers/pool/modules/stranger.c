/* SPDX-License-Identifier: Apache-2.0 */
/* A shared object that is no handler module. */
int stranger_number(void);

int stranger_number(void)
{
	return 7;
}
