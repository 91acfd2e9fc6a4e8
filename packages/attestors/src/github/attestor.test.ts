import { describeAttestor } from '@mayfly/testkit/contracts';
import { underTest } from '../../test/golden.ts';
import { describeProposals } from '../../test/proposals.ts';

describeAttestor('the github attestor', underTest('github/golden.json'));
describeProposals({
  file: 'github/golden.json',
  claim: 'event_name',
  proposals: [
    ...['pull_request', 'pull_request_target', 'pull_request_review', 'pull_request_review_comment'],
  ],
  others: ['push', 'schedule', 'workflow_dispatch', 'merge_group'],
});
