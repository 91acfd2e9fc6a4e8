/** One call, as far as it joins to an issuance. Never a token, an assertion or a signature. */
export interface GcpRecord {
  readonly seq: number;
  readonly time: string;
  readonly action: string;
  /** Service account or `principal://...`; null where nobody proved who asked. */
  readonly principal: string | null;
  /** Service account asked for, or `gs://BUCKET/OBJECT`. */
  readonly resource: string | null;
  /** Request reason, or the issuance of a signed query. */
  readonly issuance: string | null;
  readonly sent: Readonly<Record<string, unknown>>;
  readonly status: number;
}

/** What a handler learns on its way, for the record and for the answer. */
export interface Trace {
  principal: string | null;
  resource: string | null;
  issuance: string | null;
  sent: Record<string, unknown>;
}

export class GcpLedger {
  readonly #records: GcpRecord[] = [];

  append(record: Omit<GcpRecord, 'seq'>): void {
    this.#records.push({ seq: this.#records.length + 1, ...record });
  }

  since(seq: number): readonly GcpRecord[] {
    return this.#records.slice(seq);
  }
}
