/* SPDX-License-Identifier: Apache-2.0 */
/* The example business logic: a shop's checkout. The client says what it wants and how much of it;
 * prices and stock are the database's. order.checkout reserves stock in a step, charges through the
 * payment provider, then marks the order paid. A refusal discards the job, and order.release (its
 * on_discard job) takes the reservation back and refunds what may have been charged. */
#include "windlass.h"

#define LINES_MAX 100
#define QTY_MAX   1000000

/* Stages one line of the reservation. Returns its price in cents, or -1 with the reason why it
 * cannot be had. */
static int64_t reserve_line(struct wl_job *job, const char *order, size_t i, const char **why_r)
{
	const char *sku = wl_str(job, wl_at(job, "lines/%zu/sku", i), "");
	int64_t qty = wl_int(job, wl_at(job, "lines/%zu/qty", i), 0);
	struct wl_rows *row;

	*why_r = "no such product";
	if (qty < 1 || qty > QTY_MAX) {
		*why_r = "quantity out of range";
		return -1;
	}
	row = wl_query(job, "SELECT price, free FROM products WHERE sku = $1", WL(wl_text(sku)));
	if (!wl_next(row))
		return -1;
	int64_t price = wl_col_int(row, 0);
	if (wl_col_int(row, 1) < qty) {
		*why_r = "out of stock";
		return -1;
	}
	wl_lock(job, wl_at(job, "product:%s", sku));
	/* The guard and the row count make the race safe: unmet, nothing is committed and the
	 * handler reads again. */
	wl_write(job, 1, "UPDATE products SET free = free - $2 WHERE sku = $1 AND free >= $2",
		 WL(wl_text(sku), wl_i64(qty)));
	wl_write(
		job, 1,
		"INSERT INTO order_lines(order_id, line, sku, qty, price) VALUES ($1, $2, $3, $4, $5)",
		WL(wl_text(order), wl_i64((int64_t)i), wl_text(sku), wl_i64(qty), wl_i64(price)));
	return price * qty;
}

static enum wl_outcome checkout(struct wl_job *job)
{
	const char *order = wl_new_id(job, "order");
	const char *reserved = wl_stepped(job, "reserve");

	if (!reserved) {
		size_t lines = wl_len(job, "lines");
		int64_t total = 0;

		if (lines == 0 || lines > LINES_MAX)
			return wl_discard(job, "an order has 1 to %d lines, this one has %zu",
					  LINES_MAX, lines);
		wl_write(job, 1, "INSERT INTO orders(id, state) VALUES ($1, 'reserved')",
			 WL(wl_text(order)));
		for (size_t i = 0; i < lines; i++) {
			const char *why;
			int64_t price = reserve_line(job, order, i, &why);

			if (price < 0)
				return wl_discard(
					job, "%s: %s", why,
					wl_str(job, wl_at(job, "lines/%zu/sku", i), "(no sku)"));
			total += price;
		}
		reserved = wl_step(job, "reserve", "{\"order\":%s,\"total\":%lld}",
				   wl_quote(job, order), (long long)total);
	}
	wl_progress(job, 0.5, "stock reserved");

	struct wl_reply pay = wl_call(
		job, "charge",
		&(struct wl_request){
			.method = "POST",
			.url = "${env.PAY_URL}/charges",
			.headers = (const char *[]){ "Content-Type: application/json", NULL },
			.body = reserved,
			.timeout_ms = 10000 });
	if (pay.fate != WL_ANSWERED || pay.status == 408 || pay.status == 425 ||
	    pay.status == 429 || pay.status >= 500)
		return wl_retry(job, -1, "payment provider: %s", pay.error);
	if (pay.status >= 300)
		return wl_discard(job, "payment refused: %d", pay.status);
	wl_write(job, 1, "UPDATE orders SET state = 'paid', total = $2, charge = $3 WHERE id = $1",
		 WL(wl_text(order), wl_i64(wl_json_int(job, reserved, "total", 0)),
		    wl_text(wl_json_str(job, pay.body, "id", ""))));
	return wl_done(job, "{\"order\":%s,\"total\":%lld,\"charge\":%s}", wl_quote(job, order),
		       (long long)wl_json_int(job, reserved, "total", 0),
		       wl_quote(job, wl_json_str(job, pay.body, "id", "")));
}

/* payload: {job, type, payload, steps, calls, state, reason} of the checkout that ended. The
 * charge's fate may be unknown, so the provider is asked to refund whatever it has charged for this
 * order; that is harmless when there is nothing. */
static enum wl_outcome release(struct wl_job *job)
{
	const char *order = wl_str(job, "steps/reserve/order", NULL);
	size_t lines = wl_len(job, "payload/lines");

	if (!order)
		return wl_discard(job, "nothing was reserved");
	struct wl_reply refund = wl_call(
		job, "refund",
		&(struct wl_request){
			.method = "POST",
			.url = "${env.PAY_URL}/refunds",
			.headers = (const char *[]){ "Content-Type: application/json", NULL },
			.body = wl_at(job, "{\"order\":%s}", wl_quote(job, order)),
			.timeout_ms = 10000 });
	if (refund.fate != WL_ANSWERED || refund.status >= 300)
		return wl_retry(job, -1, "payment provider: %s", refund.error);
	for (size_t i = 0; i < lines; i++) {
		const char *sku = wl_str(job, wl_at(job, "payload/lines/%zu/sku", i), "");
		int64_t qty = wl_int(job, wl_at(job, "payload/lines/%zu/qty", i), 0);

		wl_lock(job, wl_at(job, "product:%s", sku));
		wl_write(job, 1, "UPDATE products SET free = free + $2 WHERE sku = $1",
			 WL(wl_text(sku), wl_i64(qty)));
	}
	wl_write(job, 1,
		 "UPDATE orders SET state = 'released' WHERE id = $1 AND state = 'reserved'",
		 WL(wl_text(order)));
	return wl_done(job, "{\"order\":%s}", wl_quote(job, order));
}

WL_MODULE({ .type = "order.checkout", .run = checkout },
	  { .type = "order.release", .run = release })
