// SPDX-License-Identifier: Apache-2.0
/* Windlass for browsers and Node 20: enqueue, wait, watch, cancel. Served at /client.js, explained in docs/javascript.md.
 *
 *   import { Windlass } from "https://jobs.example.com/client.js";
 *   const windlass = new Windlass({ token: "wl_…" });
 *   const job = await windlass.enqueue({ type: "order.checkout", payload: { … } });
 *   for await (const now of windlass.watch(job)) show(now.state, now.progress); */
const OPEN_MS = 8000; // until a connection must stand
const SILENCE_MS = 45000; // the server says something every 15 s; a connection that is silent for so long is lost
const PAUSE_MS = [250, 10000]; // between tries, at first and at most
const BACK_MS = 60000; // then the first transport gets another chance
export const hasEnded = (job) => ["completed", "discarded", "cancelled"].includes(job.state);

/* What the server refused: `status`, and `problem`, the document of RFC 9457. */
export class WindlassError extends Error {
	constructor(status, problem, retryAfter = 0) {
		super(problem?.detail ?? problem?.title ?? `HTTP ${status}`);
		Object.assign(this, { name: "WindlassError", status, problem, retryAfter });
	}
}

/* Whether asking again, perhaps another way, may help. Without a problem document it is not Windlass that speaks; an older one lacks paths. */
const isPassing = (error) => !(error instanceof WindlassError) || [408, 429, 500, 502, 503, 504].includes(error.status) ||
	!error.problem || error.problem.type === "urn:windlass:problem:unknown-path";
const newKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
/* Half a pause to a whole one, longer with each try; never less than the server asked for. Ends early when the caller gives up. */
function pause(tries, error, signal) {
	const ms = Math.min(PAUSE_MS[0] * 2 ** tries, PAUSE_MS[1]) * (0.5 + Math.random() / 2);
	const limit = deadline(Math.max(ms, (error?.retryAfter ?? 0) * 1000), signal);
	return new Promise((resolve) => (limit.signal.aborted ? resolve() : (limit.signal.onabort = resolve))).finally(limit.end);
}
/* A signal that aborts with the caller's, at end(), or when touch() has not been called for so long. */
function deadline(ms, signal) {
	const controller = new AbortController(), stop = () => controller.abort(signal.reason);
	let timer;
	const touch = (next) => (clearTimeout(timer), (timer = setTimeout(() => controller.abort(new Error("no answer in time")), next)));
	touch(ms);
	signal?.addEventListener("abort", stop);
	if (signal?.aborted) stop();
	return { signal: controller.signal, touch, end: () => (clearTimeout(timer), signal?.removeEventListener("abort", stop), controller.abort()) };
}

export class Windlass {
	#url; #token; #WebSocket; #ways; #way = 0; #until = 0; #socket = null; #refs = 0;

	/* url: the gateway, by default where this file came from. token: an API key or JSON Web Token, or a function that gives one and is asked
	 * each time; none is needed to watch what enqueue returned. */
	constructor({ url = new URL(import.meta.url).origin, token, transports = ["websocket", "sse", "poll"], WebSocket } = {}) {
		this.#url = String(url).replace(/\/+$/, "");
		this.#token = typeof token === "function" ? token : () => token;
		this.#WebSocket = WebSocket ?? globalThis.WebSocket;
		const ways = { websocket: this.#byWebSocket, sse: this.#bySse, poll: this.#byPoll };
		this.#ways = transports.filter((name) => name !== "websocket" || this.#WebSocket).map((name) => ways[name].bind(this));
	}

	/* The accepted job: `id`, `state`, `watch_token`. However often it has to be sent, it is accepted once: the key says that it is the same. */
	enqueue(job, { key = newKey(), signal, timeout } = {}) {
		const request = { headers: { "Content-Type": "application/json", "Idempotency-Key": key }, body: JSON.stringify(job), signal };
		return this.#insist(() => this.#ask("POST", "/v1/jobs", request), signal, timeout);
	}

	/* The job as it is now. Takes an id, or what enqueue returned; so do the others. */
	get(job, { signal, timeout } = {}) {
		return this.#insist(() => this.#look(job, 0, signal), signal, timeout);
	}
	cancel(job, { signal, timeout } = {}) {
		return this.#insist(() => this.#ask("POST", `/v1/jobs/${encodeURIComponent(job.id ?? job)}/cancel`, { signal }), signal, timeout);
	}
	/* The job when it has ended, whichever way. */
	async wait(job, { signal } = {}) {
		let last;
		for await (last of this.watch(job, { signal }));
		return last;
	}
	/* The job now, then each time it has moved, until it has ended. A lost connection is made again; what cannot be mended is thrown. */
	async *watch(job, { signal } = {}) {
		const at = { job, id: job.id ?? job, token: job.watch_token, last: null };
		for (let tries = 0, seen; ; tries++) {
			signal?.throwIfAborted();
			if (Date.now() > this.#until) this.#way = 0;
			let way = this.#way, failure, stood = false;
			try {
				for await (const { id, job: now } of this.#ways[way](at, signal)) {
					[stood, tries, at.last] = [true, 0, id ?? at.last];
					const text = now && JSON.stringify(now);
					if (!now || text === seen) continue;
					seen = text;
					yield now;
					if (hasEnded(now)) return;
				}
			} catch (error) {
				failure = error;
			}
			if (failure && !signal?.aborted && !isPassing(failure)) throw failure;
			if (!stood && way === this.#way) [this.#way, this.#until] = [(way + 1) % this.#ways.length, Date.now() + BACK_MS];
			if (stood || tries + 1 >= this.#ways.length) await pause(Math.floor(tries / this.#ways.length), failure, signal);
		}
	}

	async #insist(work, signal, timeout = 30000) {
		for (let tries = 0, until = Date.now() + timeout; ; tries++) {
			signal?.throwIfAborted();
			try {
				return await work();
			} catch (error) {
				if (!isPassing(error) || Date.now() > until) throw error;
				await pause(tries, error, signal);
			}
		}
	}
	async #open(method, path, { headers, ...options }) {
		const token = await this.#token(), own = token ? { Authorization: `Bearer ${token}` } : {};
		const answer = await fetch(this.#url + path, { method, cache: "no-store", headers: { ...headers, ...own }, ...options });
		if (answer.ok) return answer;
		throw new WindlassError(answer.status, await answer.json().catch(() => null), Number(answer.headers.get("Retry-After")) || 0);
	}
	async #ask(method, path, { signal, ms = 15000, ...options }) {
		const limit = deadline(ms, signal);
		return this.#open(method, path, { ...options, signal: limit.signal }).then((answer) => answer.json()).finally(limit.end);
	}
	#look(job, seconds, signal) {
		const token = job.watch_token ? `&watch_token=${encodeURIComponent(job.watch_token)}` : "";
		return this.#ask("GET", `/v1/jobs/${encodeURIComponent(job.id ?? job)}?wait=${seconds}s${token}`, { signal, ms: 15000 + seconds * 1000 });
	}

	/* The transports: each gives {} when it stands, then { id, job }, and ends or throws when it is lost. */
	async *#byPoll(at, signal) {
		for (let round = 0; round < BACK_MS / 2000; round++) yield { job: await this.#look(at.job, round ? 2 : 0, signal) };
	}
	async *#bySse(at, signal) {
		const query = new URLSearchParams(Object.entries({ watch_token: at.token, last_event_id: at.last }).filter(([, value]) => value));
		const limit = deadline(OPEN_MS, signal), options = { headers: { Accept: "text/event-stream" }, signal: limit.signal };
		try {
			const answer = await this.#open("GET", `/v1/jobs/${encodeURIComponent(at.id)}/events?${query}`, options);
			if (answer.status === 204) return yield { job: await this.#look(at.job, 0, signal) }; // it has ended, as we knew
			const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
			for (let text = "", part; !(part = await reader.read()).done; yield {}) {
				limit.touch(SILENCE_MS);
				const blocks = (text + part.value).split("\n\n");
				text = blocks.pop();
				for (const block of blocks) {
					const fields = Object.fromEntries(block.split("\n").map((line) => [line.split(":", 1)[0], line.slice(line.indexOf(":") + 1).trim()]));
					if (fields.event === "end") return;
					if (fields.data) yield { id: fields.id, job: JSON.parse(fields.data) };
				}
			}
		} finally {
			limit.end();
		}
	}
	async *#byWebSocket(at, signal) {
		const socket = await (this.#socket ??= this.#dial().catch((error) => ((this.#socket = null), Promise.reject(error)))), ref = ++this.#refs, heard = [];
		let ring;
		const tell = (message) => (heard.push(message), ring?.()), stop = () => tell(null);
		socket.listeners.set(ref, tell);
		signal?.addEventListener("abort", stop);
		socket.say({ op: "subscribe", ref, id: at.id, last_event_id: at.last ?? undefined, watch_token: at.token });
		try {
			yield {};
			for (;;) {
				while (!heard.length) await new Promise((resolve) => (ring = resolve));
				const message = heard.shift();
				if (!message) return;
				if (message.op === "error") throw new WindlassError(message.problem.status, message.problem);
				if (message.job) yield { id: message.event_id, job: message.job };
			}
		} finally {
			signal?.removeEventListener("abort", stop);
			socket.listeners.delete(ref);
			socket.say({ op: "unsubscribe", ref });
			setTimeout(() => socket.listeners.size || socket.end(), 500);
		}
	}

	/* One socket for all watches. It is closed soon after the last of them. */
	async #dial() {
		const token = await this.#token(), ws = new this.#WebSocket(`${this.#url.replace(/^http/, "ws")}/v1/ws`), limit = deadline(OPEN_MS);
		const say = (message) => ws.readyState === 1 && ws.send(JSON.stringify(message)), listeners = new Map();
		const beat = setInterval(() => say({ op: "ping", ref: 0 }), SILENCE_MS / 3);
		await new Promise((resolve, reject) => {
			ws.onopen = resolve;
			ws.onclose = ws.onerror = limit.signal.onabort = () => {
				ws.onclose = ws.onerror = this.#socket = null;
				clearInterval(beat);
				limit.end();
				ws.close();
				for (const tell of listeners.values()) tell(null);
				reject(new Error("no WebSocket"));
			};
		});
		ws.onmessage = ({ data }) => {
			const message = JSON.parse(data);
			limit.touch(SILENCE_MS);
			for (const [ref, tell] of listeners) if (message.ref === ref || (message.ref === 0 && message.op === "error")) tell(message);
		};
		if (token) say({ op: "authenticate", ref: 0, token });
		limit.touch(SILENCE_MS);
		return { say, listeners, end: () => ws.close() };
	}
}
