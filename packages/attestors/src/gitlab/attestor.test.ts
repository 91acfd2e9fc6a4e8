import { describeAttestor } from '@mayfly/testkit/contracts';
import { underTest } from '../../test/golden.ts';
import { describeProposals } from '../../test/proposals.ts';

describeAttestor('the gitlab attestor', underTest('gitlab/golden.json'));
describeProposals({
  file: 'gitlab/golden.json',
  claim: 'pipeline_source',
  proposals: ['merge_request_event', 'external_pull_request_event'],
  beneath: { value: 'parent_pipeline', refs: ['refs/merge-requests/7/head', undefined, 7] },
  others: ['push', 'web', 'schedule', 'api'],
});
