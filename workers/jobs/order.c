/* SPDX-License-Identifier: Apache-2.0 */
#include "windlass.h"
static enum wl_outcome checkout(struct wl_job *job)
{
	const char *order = wl_new_id(job, "order");
	const char *reserved = wl_stepped(job, "reserve");

	if (!reserved) {
		int64_t total = 0;
		wl_write(job, 1, "INSERT INTO orders(id, state) VALUES ($1, 'reserved')", WL(wl_text(order)));
		for (size_t i = 0; i < wl_len(job, "lines"); i++) {
			const char *sku = wl_str(job, wl_at(job, "lines/%zu/sku", i), "");
			int64_t n = wl_int(job, wl_at(job, "lines/%zu/qty", i), 0);
			struct wl_rows *row = wl_query(job, "SELECT price, free FROM products WHERE sku = $1", WL(wl_text(sku)));
			if (!wl_next(row))
				return wl_discard(job, "no such product: %s", sku);
			if (wl_col_int(row, 1) < n)
				return wl_discard(job, "out of stock: %s", sku);
			total += n * wl_col_int(row, 0);
			wl_lock(job, wl_at(job, "product:%s", sku));
			wl_write(job, 1, "UPDATE products SET free = free - $2 WHERE sku = $1 AND free >= $2", WL(wl_text(sku), wl_i64(n)));
			wl_write(job, 1, "INSERT INTO order_lines VALUES ($1, $2, $3)", WL(wl_text(order), wl_text(sku), wl_i64(n)));
		}
		reserved = wl_step(job, "reserve", "{\"order\":%s,\"total\":%lld}", wl_quote(job, order), (long long)total);
	}

	struct wl_reply pay = wl_call(job, "charge", &(struct wl_request){ .method = "POST", .url = "${env.PAY_URL}/charges",
	                              .body = reserved });
	if (pay.fate != WL_ANSWERED || pay.status == 408 || pay.status == 425 || pay.status == 429 || pay.status >= 500)
		return wl_retry(job, -1, "payment provider: %s", pay.error);
	if (pay.status >= 400)
		return wl_discard(job, "payment refused: %d", pay.status);     /* on_discard: order.release gives the stock back */
	wl_write(job, 1, "UPDATE orders SET state = 'paid', charge = $2 WHERE id = $1",
	         WL(wl_text(order), wl_text(wl_json_str(job, pay.body, "id", ""))));
	return wl_done(job, "{\"order\":%s,\"paid\":%s}", wl_quote(job, order), reserved);
}
WL_MODULE({ .type = "order.checkout", .run = checkout })
