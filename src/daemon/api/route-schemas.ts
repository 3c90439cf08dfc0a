/** How a route is described: references to the schemas that the server knows by name. */
import { Type, type TSchema } from '@sinclair/typebox';

export const schema = (name: string): TSchema => Type.Unsafe({ $ref: `${name}#` });
export const listOf = (name: string): TSchema => Type.Array(schema(name));

/** What each route can answer when it does not do what was asked. */
export const failures = { '4xx': schema('Error'), '5xx': schema('Error') } as const;
