import { expect, test } from '@jest/globals';
import { liveView } from './introspect.ts';

const claims = { iss: 'i', sub: 's', aud: 'a', exp: 2, iat: 1, jti: 'j', client_id: 'c', txn: 't' };
const more = { authorization_details: [{ type: 'mayfly_tool_call' }] };
const sent = (view: unknown) => JSON.parse(JSON.stringify(view));

test('a plain token is shown with its claims, and nothing that it does not have', () => {
  const view = sent(liveView({ ...claims, ...more }));
  expect(view).toEqual({ active: true, ...claims, ...more, token_type: 'Bearer' });
});

test('the key it is bound to and who acts are passed through', () => {
  const act = { iss: 'i', sub: 'actor', act: { sub: 'before' } };
  expect(sent(liveView({ ...claims, act, cnf: { jkt: 'k' } }))).toMatchObject({
    ...{ act, cnf: { jkt: 'k' }, token_type: 'DPoP' },
  });
  // A certificate is no DPoP key (RFC 8705 section 3.2).
  expect(liveView({ ...claims, cnf: { 'x5t#S256': 'x' } })['token_type']).toBe('Bearer');
});

test('a claim that nobody has named is not passed through', () => {
  expect(Object.keys(liveView({ ...claims, email: 'x', active: false }))).not.toContain('email');
  expect(liveView({ ...claims, active: false })['active']).toBe(true);
});
