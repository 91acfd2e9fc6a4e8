import { documentRoutes } from './documents.ts';
import { issuanceRoutes } from './issuances.ts';
import { operationRoutes } from './operations.ts';
import { revocationRoutes } from './revocations.ts';
import type { Route } from './route.ts';
import { signalRoutes } from './signals.ts';
import { taskRoutes } from './tasks.ts';
import { timelineRoutes } from './timeline.ts';

/** Every route of /v1; nothing else is registered there. */
export const routes: readonly Route[] = [
  ...taskRoutes,
  ...timelineRoutes,
  ...signalRoutes,
  ...issuanceRoutes,
  ...revocationRoutes,
  ...documentRoutes,
  ...operationRoutes,
];
