import { denied } from './errors.ts';
import { allows, type Context } from './evaluate.ts';
import { identityLayers, principalContext } from './principal.ts';
import type { Principal } from './sigv4.ts';
import type { AwsState } from './state.ts';

/** Who calls, in which account, at what time: what every decision needs. */
export interface Caller {
  readonly principal: Principal;
  readonly state: AwsState;
  readonly now: Date;
}

export interface Asked {
  readonly action: string;
  readonly resource: string;
  /** Condition keys of this request, beside the global ones. */
  readonly context?: Context;
}

/** Throws AccessDenied unless every layer of the caller allows and none denies. The account's root may everything. */
export function authorize(caller: Caller, asked: Asked): void {
  if (!may(caller, asked)) throw denied(asked.action, asked.resource);
}

export function may({ principal, state, now }: Caller, { action, resource, context = {} }: Asked): boolean {
  const { session } = principal;
  if (session === undefined) return true;
  const whole = { ...principalContext(principal, { state, now }), ...context };
  return allows(identityLayers(session, { state, now }), { action, resource, context: whole });
}

/** `arn:aws:SERVICE:REGION:ACCOUNT:REST` of this account. */
export function arnOf({ region, account }: AwsState, service: string, rest: string): string {
  return `arn:aws:${service}:${region}:${account}:${rest}`;
}
