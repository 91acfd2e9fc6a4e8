import type { Case, Unseen } from './case.ts';
import { transportCases, transportUnseen } from './cases/a-transport.ts';
import { delegationCases } from './cases/b-delegation.ts';
import { exchangeCases } from './cases/b-exchange.ts';
import { targetCases } from './cases/c-target.ts';
import { dpopCases, dpopUnseen } from './cases/d-dpop.ts';
import { certificateCases, certificateUnseen } from './cases/e-mtls.ts';
import { callerCases, callerUnseen } from './cases/f-caller.ts';
import { accessTokenCases } from './cases/g-access-token.ts';
import { revocationCases, revocationUnseen } from './cases/h-revocation.ts';
import { introspectionCases, introspectionUnseen } from './cases/i-introspection.ts';
import { metadataCases, metadataUnseen } from './cases/j-metadata.ts';
import { pendingCases, pendingUnseen } from './cases/l-pending.ts';
import { apiCases, apiUnseen } from './cases/n-api.ts';
import { platformCases, platformUnseen } from './cases/p-platforms.ts';

/** Every case, in the order of the profile. */
export const cases: readonly Case[] = [
  ...[...transportCases, ...exchangeCases, ...delegationCases, ...targetCases, ...dpopCases],
  ...[...certificateCases, ...callerCases, ...accessTokenCases, ...revocationCases, ...introspectionCases],
  ...[...metadataCases, ...pendingCases, ...apiCases, ...platformCases],
].toSorted((left, right) => left.id.localeCompare(right.id, 'en', { numeric: true }));

/** What of the profile cannot be seen from outside, and why. */
export const unseen: readonly Unseen[] = [
  ...[...transportUnseen, ...dpopUnseen, ...certificateUnseen, ...callerUnseen, ...revocationUnseen],
  ...[...introspectionUnseen, ...metadataUnseen, ...pendingUnseen, ...apiUnseen, ...platformUnseen],
];
