/**
 * What stands on the wire (contract.md section 5), kept here so that the shipped package needs no other; wire.test.ts
 * compares it with @mayfly/protocol. And readers for answers: an answer is text of somebody else until it is read.
 */
export const grantTypeTokenExchange = 'urn:ietf:params:oauth:grant-type:token-exchange';
export const subjectTokenType = {
  jwt: 'urn:ietf:params:oauth:token-type:jwt',
  access_token: 'urn:ietf:params:oauth:token-type:access_token',
} as const;
export const awsCredentialsType = 'urn:mayfly:token-type:aws-credentials';
export const azureSasType = 'urn:mayfly:token-type:azure-sas';
export const detailType = 'mayfly_tool_call';

export type Json = Readonly<Record<string, unknown>>;

/** Longest text of a server that is passed on into a message. */
const lineCharactersMax = 1_000;

/** A parsed object, or an empty one. */
export function asObject(value: unknown): Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : {};
}

export function asText(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

export function asTime(value: unknown): Date | undefined {
  const time = typeof value === 'string' ? new Date(value) : undefined;
  return time === undefined || Number.isNaN(time.getTime()) ? undefined : time;
}

export function asList(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** JSON, or undefined. The parser's own error quotes the text, which may be a credential: it is dropped. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** One printable line: what a server says cannot fake further lines of a message. */
export function line(text: string): string {
  const flat = text.replaceAll(/[\p{Cc}\p{Cf}\s]+/gu, ' ').trim();
  return flat.length > lineCharactersMax ? `${flat.slice(0, lineCharactersMax)}...` : flat;
}
