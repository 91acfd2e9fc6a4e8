import type { IncomingMessage, ServerResponse } from 'node:http';
import type { FaultPlan, Faults } from './aws/faults.ts';

/** What a JSON API answers: 204 has no body. */
export interface JsonAnswer {
  readonly status: number;
  readonly body?: unknown;
}

export type Lie = Extract<FaultPlan['mode'], 'lie_longer' | 'lie_identity'> | undefined;

export interface JsonCall {
  readonly response: ServerResponse;
  readonly faults: Faults;
  readonly action: string;
  /** Takes effect, and answers what a lie says, if it is told one. */
  run(lie: Lie): JsonAnswer | Promise<JsonAnswer>;
}

const bodyBytesMax = 65_536;

/** Answers what `run` does, or plays the fault that is armed for this action. */
export async function answerJson({ response, faults, action, run }: JsonCall): Promise<void> {
  const say = ({ status, body }: JsonAnswer) => {
    if (response.destroyed) return;
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(body === undefined ? undefined : JSON.stringify(body));
  };
  const fault = faults.take(action);
  if (fault === undefined) return say(await run(undefined));
  const { mode, status = 500, ms = 100 } = fault.plan;
  switch (mode) {
    case 'refuse':
      return say({ status, body: { message: 'refused by the stand-in' } });
    case 'cut':
      response.destroy();
      return;
    case 'hold':
      await fault.released;
      return say(await run(undefined));
    case 'delay':
      await new Promise((resolve) => setTimeout(resolve, ms));
      return say(await run(undefined));
    case 'applied_and_failed':
      await run(undefined);
      return say({ status, body: { message: 'failed by the stand-in' } });
    case 'applied_and_cut':
      await run(undefined);
      response.destroy();
      return;
    case 'lie_longer':
    case 'lie_identity':
      return say(await run(mode));
    default:
      return mode satisfies never;
  }
}

/** The JSON body of a request; undefined where there is none or it is none. */
export async function readJson(request: IncomingMessage): Promise<unknown> {
  let text = '';
  for await (const chunk of request) {
    text += String(chunk);
    if (text.length > bodyBytesMax) return undefined;
  }
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A member of something that may be anything. */
export function member(value: unknown, ...path: readonly string[]): unknown {
  return path.reduce((at: unknown, name) => Reflect.get(Object(at), name), value);
}

export function bearerOf({ headers }: IncomingMessage): string {
  return /^(?:Bearer|token) ([\x21-\x7e]+)$/i.exec(headers.authorization ?? '')?.[1] ?? '';
}
