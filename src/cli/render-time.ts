/** `13:18:51` in local time, with the date in front if that is not today's. */
export function renderSince(iso: string, now: Date = new Date()): string {
  const time = new Date(iso);
  if (Number.isNaN(time.getTime())) return iso;
  const clock = [time.getHours(), time.getMinutes(), time.getSeconds()].map(twoDigits).join(':');
  const day = dayOf(time);
  return day === dayOf(now) ? clock : `${day} ${clock}`;
}

function dayOf(time: Date): string {
  return [String(time.getFullYear()), twoDigits(time.getMonth() + 1), twoDigits(time.getDate())].join('-');
}

function twoDigits(number: number): string {
  return String(number).padStart(2, '0');
}
