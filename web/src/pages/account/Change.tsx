import { type ReactNode, useState } from "react";
import { Button, Dialog, Failure, ui } from "../../ui";

type Props = {
  title: string;
  icon: ReactNode;
  /** The form, made anew each time; done closes it. */
  children: (done: () => void) => ReactNode;
};

/** A button, and the dialog that it opens. */
export function Change({ title, icon, children }: Props) {
  const [open, setOpen] = useState(false);
  return (
    <>
      <Button onClick={() => setOpen(true)}>{icon} {title}</Button>
      <Dialog open={open} onOpenChange={setOpen} title={title}>
        {open && children(() => setOpen(false))}
      </Dialog>
    </>
  );
}

/** The end of such a form: why it failed, and its buttons. */
export function Answers({ change, done }: { change: { error: unknown; isPending: boolean }; done: () => void }) {
  return (
    <>
      {change.error != null && <Failure error={change.error} />}
      <div className={ui["answers"]}>
        <Button onClick={done}>Cancel</Button>
        <Button type="submit" look="primary" busy={change.isPending}>Change it</Button>
      </div>
    </>
  );
}
