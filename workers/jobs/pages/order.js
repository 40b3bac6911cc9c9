// SPDX-License-Identifier: Apache-2.0
/* The example page: sends an order, shows how its job moves, and what came of it. */
import { Windlass, WindlassError, hasEnded } from "/client.js";

const at = (id) => document.getElementById(id);
let windlass, job;

/* What people read; the job itself has it all. */
function show(now) {
	const note = now.progress?.note ?? now.reason ?? "";
	at("state").textContent = `${now.state}${note && `: ${note}`}`;
	at("progress").value = hasEnded(now) ? 1 : (now.progress?.part ?? 0);
	at("cancel").disabled = hasEnded(now);
	at("result").textContent = now.result ? JSON.stringify(now.result, null, 2) : "";
}

async function order(event) {
	event.preventDefault();
	at("send").disabled = true;
	try {
		windlass = new Windlass({ token: at("token").value || undefined });
		const lines = [{ sku: at("sku").value, qty: Number(at("qty").value) }];
		job = await windlass.enqueue({ type: "order.checkout", payload: { lines } });
		for await (const now of windlass.watch(job)) show(now);
	} catch (error) {
		at("state").textContent = error instanceof WindlassError ? `refused: ${error.message}` : `failed: ${error.message}`;
	}
	at("send").disabled = false;
}

at("order").addEventListener("submit", order);
at("cancel").addEventListener("click", () => windlass.cancel(job).catch((error) => (at("state").textContent = `not cancelled: ${error.message}`)));
