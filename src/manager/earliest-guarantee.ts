/** Until when all grants of a hold are certain: as long as the one that ends first. */
import type { Guarantee, GuaranteeTimes } from '../driver/contract.js';

/**
 * @param parts those of the grants that there are now; a hold can get more. Undefined: none of them ends by itself.
 */
export function earliestGuarantee(parts: () => readonly Guarantee[]): Guarantee | undefined {
  if (parts().length === 0) return undefined;
  return {
    get times() {
      return earliestTimes(parts());
    },
    onRenewal(listener) {
      const heard = new Map<Guarantee, () => void>();
      // With each renewal it is looked whether there are others by now.
      const listen = (): void => {
        for (const part of parts()) if (!heard.has(part)) heard.set(part, part.onRenewal(renewed));
      };
      const renewed = (): void => {
        listen();
        listener(earliestTimes(parts()));
      };
      listen();
      return () => heard.forEach((forget) => forget());
    },
  };
}

function earliestTimes(parts: readonly Guarantee[]): GuaranteeTimes {
  const all = parts.map(({ times }) => times);
  return {
    loseAtMs: Math.min(...all.map(({ loseAtMs }) => loseAtMs)),
    killAtMs: Math.min(...all.map(({ killAtMs }) => killAtMs)),
    endMs: Math.min(...all.map(({ endMs }) => endMs)),
  };
}
