// A long list, page by page.
import { Button, ui } from ".";

type Props = { page: number; size: number; total: number; show: (page: number) => void };

/** Pages count from 0; nothing is shown if there is but one. */
export function Pager({ page, size, total, show }: Props) {
  if (total <= size) return null;
  return (
    <div className={ui["pager"]}>
      <Button size="small" disabled={page === 0} onClick={() => show(page - 1)}>Back</Button>
      <span className={ui["hint"]}>{page * size + 1} to {Math.min(total, (page + 1) * size)} of {total}</span>
      <Button size="small" disabled={(page + 1) * size >= total} onClick={() => show(page + 1)}>Further</Button>
    </div>
  );
}
