import { type Case, check, expectIssued, expectRefused } from '../case.ts';
import { at, claimsOf, type Fields, type Suite, textOf, tokenType, type Wishes } from '../suite.ts';

/** More actors than this may not stand between a subject and a tool. */
const actorsMax = 4;

async function actor(suite: Suite, subject = suite.profile.subjects.actor): Promise<Fields> {
  return { actor_token: await suite.assertion({ subject }), actor_token_type: tokenType.jwt };
}

const delegated = async (suite: Suite, wishes: Wishes = {}, subject?: string) =>
  suite.exchange({
    detail: 'delegated',
    ...wishes,
    more: { ...wishes.more, ...(await actor(suite, subject)) },
  });

/** B10 to B12. Delegation (RFC 8693 sections 1.1, 4.1 and 4.4). */
export const delegationCases: readonly Case[] = [
  {
    id: 'B10',
    rule: 'with an actor the token keeps the subject, and names the actor in act',
    source: 'RFC 8693 section 4.1',
    must: 'MUST',
    needs: ['delegation'],
    run: async (suite) => {
      const alone = expectIssued(await suite.exchange({ detail: 'delegated' }));
      const answer = expectIssued(await delegated(suite));
      const claims = claimsOf(answer);
      check(answer, claims['sub'] === claimsOf(alone)['sub'], 'the same sub as without an actor');
      check(answer, at(claims, 'act', 'iss') === suite.profile.issuers.main.issuer, 'act.iss of the actor');
      check(answer, at(claims, 'act', 'sub') === suite.profile.subjects.actor, 'act.sub of the actor');
      check(alone, claimsOf(alone)['act'] === undefined, 'no act without an actor');
    },
  },
  {
    id: 'B10.b',
    rule: 'earlier actors are nested inside act, the present one outermost',
    source: 'RFC 8693 section 4.1',
    must: 'MUST',
    needs: ['delegation', 'children', 'task-tokens'],
    run: async (suite) => {
      const [answer] = await chain(suite, 2);
      const act = claimsOf(expectIssued(answer))['act'];
      check(answer, at(act, 'sub') === `${suite.profile.subjects.actor}-2`, 'the second actor outermost');
      check(answer, at(act, 'act', 'sub') === `${suite.profile.subjects.actor}-1`, 'the first one inside');
    },
  },
  {
    id: 'B10.c',
    rule: 'a chain of more than four actors is refused',
    source: 'RFC 8693 section 4.1',
    must: 'MUST',
    needs: ['delegation', 'children', 'task-tokens'],
    run: async (suite) => {
      const [last, ...before] = await chain(suite, actorsMax + 1);
      check(last, before.length === actorsMax + 1, `${actorsMax} actors that are taken`);
      expectRefused(last, 'invalid_request');
    },
  },
  {
    id: 'B11',
    rule: 'may_act of the subject token that names another actor is refused',
    source: 'RFC 8693 section 4.4',
    must: 'MUST',
    needs: ['delegation'],
    run: async (suite) => {
      const iss = suite.profile.issuers.main.issuer;
      for (const named of [
        { iss, sub: suite.profile.subjects.stranger },
        { iss: 'https://elsewhere.example', sub: suite.profile.subjects.actor },
      ]) {
        const token = await suite.assertion({ claims: { may_act: named } });
        expectRefused(await delegated(suite, { token }), 'invalid_request');
      }
    },
  },
  {
    id: 'B11.b',
    rule: 'may_act of the subject token that names the actor is taken',
    source: 'RFC 8693 section 4.4',
    must: 'MUST',
    needs: ['delegation'],
    run: async (suite) => {
      const { issuers, subjects } = suite.profile;
      const may_act = { iss: issuers.main.issuer, sub: subjects.actor };
      const token = await suite.assertion({ claims: { may_act } });
      expectIssued(await delegated(suite, { token }));
    },
  },
  {
    id: 'B11.c',
    rule: 'without may_act an actor that no rule names is refused',
    source: 'RFC 8693 section 1.1',
    must: 'MUST',
    needs: ['delegation'],
    run: async (suite) => {
      expectRefused(await delegated(suite, {}, suite.profile.subjects.stranger), 'invalid_request');
    },
  },
  {
    id: 'B11.d',
    rule: 'an actor token that is not valid is refused, never left out',
    source: 'RFC 8693 section 2.2.2',
    must: 'MUST',
    needs: ['delegation'],
    run: async (suite) => {
      const expired = await suite.assertion({ subject: suite.profile.subjects.actor, claims: { exp: 1 } });
      for (const actor_token of ['x.y.z', expired]) {
        const more = { actor_token, actor_token_type: tokenType.jwt };
        expectRefused(await suite.exchange({ detail: 'delegated', more }), 'invalid_request');
      }
    },
  },
  {
    id: 'B12',
    rule: 'an actor where no rule lets anybody act is refused, never left out in silence',
    source: 'RFC 8693 section 1.1',
    must: 'MUST',
    needs: ['delegation'],
    run: async (suite) => {
      expectRefused(await suite.exchange({ more: await actor(suite) }), 'invalid_request');
    },
  },
  {
    id: 'B12.b',
    rule: 'an assertion that names who acts is not the subject’s own',
    source: 'RFC 8693 section 4.1',
    must: 'MUST',
    run: async (suite) => {
      const claims = { act: { sub: suite.profile.subjects.actor } };
      const token = await suite.assertion({ claims });
      expectRefused(await suite.exchange({ token }), 'invalid_request');
    },
  },
];

type Answers = [Awaited<ReturnType<typeof delegated>>, ...Awaited<ReturnType<typeof delegated>>[]];

/** Tasks beneath each other, each opened by the next actor with the task token of the one above, to the first refusal. */
async function chain(suite: Suite, length: number): Promise<Answers> {
  const answers: Answers = [expectIssued(await suite.exchange({ detail: 'delegated' }))];
  const more = { subject_token_type: tokenType.accessToken };
  for (let index = 1; index <= length && answers[0].status === 200; index += 1) {
    const token = textOf(answers[0], 'task_token');
    answers.unshift(await delegated(suite, { token, more }, `${suite.profile.subjects.actor}-${index}`));
  }
  return answers;
}
