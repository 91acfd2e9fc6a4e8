import type { BaseCheck, Minter, PlanCheck } from './minter.ts';
import type { Attestor, AuditEvent, Clock, Ledger, NewId, Policies, Tasks } from './ports.ts';
import type { Proofs } from './proof.ts';
import type { Secret } from './secret.ts';
import type { Task } from './task.ts';
import type { Confirmation } from './workload.ts';

/** Every effect that an exchange may have. `test/` enumerates these for the kill matrix. */
export interface ExchangePorts {
  readonly clock: Clock;
  readonly newId: NewId;
  readonly policies: Policies;
  /** The attestor of an exact `iss` under the current policy; undefined for an issuer that is not registered. */
  attestor(iss: string): Attestor | undefined;
  /** Unverified `iss` of a compact JWT, for routing only. */
  issuerOf(assertion: string): string | undefined;
  readonly taskTokens: {
    /** The task it speaks for, or a Refusal `assertion_invalid`. Whether the task lives is decided later. */
    verify(token: string, now: Date): Promise<{ taskId: string; confirmation: Confirmation | null }>;
    sign(task: Task): Promise<Secret<string>>;
  };
  readonly toolTokens: {
    /** A tool token of ours that is active now; null for what is none; a Refusal `assertion_invalid` for one that is dead. */
    verify(
      token: string,
      now: Date,
    ): Promise<{ taskId: string; audience: string; confirmation: Confirmation | null } | null>;
  };
  /** DPoP proofs and client certificates, verified; looking whether a proof was used before is one with its use. */
  readonly proofs: Proofs;
  readonly tasks: Tasks;
  readonly ledger: Ledger;
  readonly minters: ReadonlyMap<string, Minter>;
  readonly check: PlanCheck;
  readonly checkBase: BaseCheck;
  /** Aborts at the mint deadline, by monotonic time. */
  deadline(): AbortSignal;
  /** SHA-256 hex of the canonical form. */
  digest(value: unknown): string;
  /** Refusals before a workload is known: one row each up to a rate, then aggregates. */
  readonly unattested: { append(event: AuditEvent): Promise<void> };
  /** Base sessions being made, by reach: single-flight within this process. */
  readonly baseFlights: Map<string, Promise<void>>;
  /** For operators: something that should not happen did. Never a secret. */
  report(message: string, context: Readonly<Record<string, unknown>>): void;
}
