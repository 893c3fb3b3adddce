// How much is used of what there is.
import { type Tone, cx } from ".";
import css from "./meter.module.css";

/** most 0 is no limit: then there is nothing to fill. */
export function Meter({ name, value, most, text, tone }: { name: string; value: number; most: number; text: string; tone?: Tone }) {
  const part = most > 0 ? Math.min(1, Math.max(0, value / most)) : 0;
  return (
    <div className={cx(css["meter"], tone && css[tone])}>
      <div className={css["line"]}><span>{name}</span><b>{text}</b></div>
      <div className={css["track"]} role="meter" aria-label={name} aria-valuemin={0} aria-valuemax={100} aria-valuenow={Math.round(part * 100)} aria-valuetext={text}>
        <div style={{ width: `${part * 100}%` }} />
      </div>
    </div>
  );
}
