import { type Case, expectRefused } from '../case.ts';
import { deferredGrant } from '../suite.ts';

const needs = ['deferral'] as const;
const code = 'conformance-unknown-deferral-code';

/** L. Deferred answers, as far as they can be seen while nothing is deferred (draft-ietf-oauth-deferred-token-response). */
export const pendingCases: readonly Case[] = [
  {
    id: 'L1',
    rule: 'completion_mode changes nothing where nothing is deferred, whatever its values',
    source: 'draft-ietf-oauth-deferred-token-response',
    must: 'MUST',
    needs,
    run: async (suite) => {
      for (const completion_mode of ['deferred', 'conformance deferred', 'conformance'])
        await suite.issued({ more: { completion_mode } });
    },
  },
  {
    id: 'L3',
    rule: 'a poll needs its deferral_code',
    source: 'draft-ietf-oauth-deferred-token-response',
    must: 'MUST',
    needs,
    run: async (suite) => {
      expectRefused(await suite.token({ grant_type: deferredGrant }), 'invalid_request');
    },
  },
  {
    id: 'L3.b',
    rule: 'a poll has no completion_mode',
    source: 'draft-ietf-oauth-deferred-token-response',
    must: 'MUST',
    needs,
    run: async (suite) => {
      const fields = { grant_type: deferredGrant, deferral_code: code, completion_mode: 'deferred' };
      expectRefused(await suite.token(fields), 'invalid_request');
    },
  },
  {
    id: 'L4',
    rule: 'an unknown deferral_code is invalid_grant',
    source: 'draft-ietf-oauth-deferred-token-response',
    must: 'MUST',
    needs,
    run: async (suite) => {
      const fields = { grant_type: deferredGrant, deferral_code: code };
      expectRefused(await suite.token(fields), 'invalid_grant');
    },
  },
];

export const pendingUnseen = [
  { id: 'L2', why: 'approvals are not built, so nothing is ever pending; its cases come with them' },
  { id: 'L5', why: 'as L2' },
  { id: 'L6', why: 'as L2' },
  { id: 'L7', why: 'as L2' },
  { id: 'L8', why: 'callbacks are optional, and not built' },
  { id: 'L9', why: 'as L2' },
  { id: 'L10', why: 'there is no CIBA endpoint to be asked' },
  { id: 'M', why: 'transaction tokens are reserved' },
] as const;
