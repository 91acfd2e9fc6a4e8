/**
 * Stands in for `@aws-sdk/client-iam` and `@aws-sdk/client-sts` in the module graph of a simulation (graph.ts), so that
 * the real packages/minters/src/aws/deny.ts runs over virtual time. Only what that file imports is here.
 */
export interface IamCall {
  readonly action: 'PutRolePolicy' | 'GetRolePolicy' | 'DeleteRolePolicy';
  readonly role: string;
  readonly document: string | null;
}

export type IamDoor = (call: IamCall, signal: AbortSignal) => Promise<{ PolicyDocument?: string }>;

/** Which account the connections of a replica lead to. */
export const iamDoors = new WeakMap<object, IamDoor>();

interface Input {
  readonly RoleName: string;
  readonly PolicyDocument?: string;
}

class Command {
  readonly call: IamCall;
  constructor(action: IamCall['action'], { RoleName, PolicyDocument = undefined }: Input) {
    this.call = { action, role: RoleName, document: PolicyDocument ?? null };
  }
}

export class PutRolePolicyCommand extends Command {
  constructor(input: Input) {
    super('PutRolePolicy', input);
  }
}

export class GetRolePolicyCommand extends Command {
  constructor(input: Input) {
    super('GetRolePolicy', input);
  }
}

export class DeleteRolePolicyCommand extends Command {
  constructor(input: Input) {
    super('DeleteRolePolicy', input);
  }
}

export class IAMClient {
  readonly #door: IamDoor;

  constructor({ requestHandler }: { readonly requestHandler: object }) {
    const door = iamDoors.get(requestHandler);
    if (door === undefined) throw new TypeError('no account behind these connections');
    this.#door = door;
  }

  send({ call }: Command, { abortSignal }: { readonly abortSignal: AbortSignal }) {
    return this.#door(call, abortSignal);
  }
}

/** deny.ts asks STS only for a revoker of its own, which no simulated provider has. */
class Unused {
  constructor() {
    throw new TypeError('STS is not part of the simulation');
  }
}

export { Unused as AssumeRoleCommand, Unused as AssumeRoleWithWebIdentityCommand, Unused as STSClient };
