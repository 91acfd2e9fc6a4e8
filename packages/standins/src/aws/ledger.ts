import type { Session } from './state.ts';

/** One record in CloudTrail's shape, as far as it joins to an issuance. Never a secret or session token. */
export interface LedgerRecord {
  readonly seq: number;
  readonly eventTime: string;
  readonly eventSource: string;
  readonly eventName: string;
  readonly userIdentity: Readonly<Record<string, unknown>>;
  readonly requestParameters: Readonly<Record<string, unknown>>;
  readonly responseElements: Readonly<Record<string, unknown>> | null;
  readonly errorCode: string | null;
}

export class Ledger {
  readonly #records: LedgerRecord[] = [];

  append(record: Omit<LedgerRecord, 'seq'>): void {
    this.#records.push({ seq: this.#records.length + 1, ...record });
  }

  since(seq: number): readonly LedgerRecord[] {
    return this.#records.slice(seq);
  }
}

export function userIdentity(session: Session | undefined, account: string): Record<string, unknown> {
  if (session === undefined) return { type: 'Root', arn: `arn:aws:iam::${account}:root`, accountId: account };
  const { role, sessionName, accessKeyId, sourceIdentity, issuedAt } = session;
  return {
    type: 'AssumedRole',
    principalId: `${role.id}:${sessionName}`,
    arn: `arn:aws:sts::${account}:assumed-role/${role.name}/${sessionName}`,
    accountId: account,
    accessKeyId,
    sessionContext: {
      sessionIssuer: {
        type: 'Role',
        principalId: role.id,
        arn: role.arn,
        accountId: account,
        userName: role.name,
      },
      attributes: { creationDate: issuedAt.toISOString(), mfaAuthenticated: 'false' },
      ...(sourceIdentity === undefined ? {} : { sourceIdentity }),
    },
  };
}
