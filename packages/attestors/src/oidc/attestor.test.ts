import { describeAttestor } from '@mayfly/testkit/contracts';
import { underTest } from '../../test/golden.ts';

for (const cloud of ['aws', 'azure', 'google'])
  describeAttestor(`the oidc attestor with a token of ${cloud}`, underTest(`oidc/golden-${cloud}.json`));
