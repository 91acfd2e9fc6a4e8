import { Pool } from 'undici';

export interface LoadResult {
  readonly connections: number;
  readonly seconds: number;
  /** Answers with 200; every request that was sent is waited for. */
  readonly answers: number;
  readonly refused: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  /** The first answer that was not 200. */
  readonly firstRefusal: string | null;
}

export interface LoadOptions {
  readonly origin: string;
  readonly path: string;
  readonly connections: number;
  readonly seconds: number;
  /** Stops early after this many requests. */
  readonly requestsMax?: number;
  /** The next body, or undefined when none is left. */
  next(): string | undefined;
  /** Headers of that body, beside its media type. */
  headers?(): Readonly<Record<string, string>>;
}

const form = { 'content-type': 'application/x-www-form-urlencoded' };

/** Closed loop: each connection sends its next request when the last was answered; nothing is cut off at the end. */
export async function load(options: LoadOptions): Promise<LoadResult> {
  const { origin, path, connections, seconds, requestsMax = Number.POSITIVE_INFINITY } = options;
  const pool = new Pool(origin, { connections, pipelining: 1 });
  const latencies: number[] = [];
  const failed: string[] = [];
  const started = performance.now();
  const until = started + seconds * 1000;
  let sent = 0;
  const connection = async () => {
    while (performance.now() < until && sent < requestsMax) {
      const body = options.next();
      if (body === undefined) return;
      sent += 1;
      const from = performance.now();
      const answer = await pool.request({
        method: 'POST',
        path,
        headers: { ...form, ...options.headers?.() },
        body,
      });
      const text = await answer.body.text();
      latencies.push(performance.now() - from);
      if (answer.statusCode !== 200) failed.push(`${answer.statusCode} ${text}`);
    }
  };
  await Promise.all(Array.from({ length: connections }, connection));
  const elapsed = (performance.now() - started) / 1000;
  await pool.close();
  return summary({ connections, elapsed, latencies, failed });
}

function summary(run: {
  connections: number;
  elapsed: number;
  latencies: number[];
  failed: readonly string[];
}): LoadResult {
  const { connections, elapsed, failed } = run;
  const sorted = run.latencies.sort((left, right) => left - right);
  const quantile = (share: number) => round(sorted[Math.floor((sorted.length - 1) * share)] ?? 0);
  const answers = sorted.length - failed.length;
  return {
    connections,
    seconds: round(elapsed),
    answers,
    refused: failed.length,
    perSecond: Math.round(answers / elapsed),
    p50Ms: quantile(0.5),
    p99Ms: quantile(0.99),
    maxMs: quantile(1),
    firstRefusal: failed[0] ?? null,
  };
}

export function round(value: number): number {
  return Math.round(value * 100) / 100;
}
