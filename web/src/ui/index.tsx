// The pieces that every part of the page is made of: looks over the primitives
// of Radix, which bring keyboard, focus and screen readers.
import { AlertTriangle, CheckCircle2, Info, LoaderCircle, OctagonAlert, X } from "lucide-react";
import { Dialog as RadixDialog, Slot, Tooltip as RadixTooltip, DropdownMenu } from "radix-ui";
import { type ComponentProps, type ReactNode, useEffect, useId } from "react";
import { ApiError, sentence } from "../api/client";
import css from "./ui.module.css";

export { css as ui };

/** Joins class names, leaving out what is false. */
export const cx = (...names: (string | false | null | undefined)[]) => names.filter(Boolean).join(" ");

type ButtonProps = ComponentProps<"button"> & {
  look?: "plain" | "primary" | "danger" | "ghost";
  size?: "small" | "normal" | "large";
  /** The child is what is shown, with the looks of a button: for links. */
  asChild?: boolean;
  /** Shows that it works, and takes no second press. */
  busy?: boolean;
};

export function Button({ look = "plain", size = "normal", asChild, busy, className, disabled, children, ...rest }: ButtonProps) {
  const names = cx(css["button"], look !== "plain" && css[look], size !== "normal" && css[size], className);
  if (asChild) return <Slot.Root className={names} {...rest}>{children}</Slot.Root>;
  return (
    <button type="button" className={names} disabled={disabled || busy} aria-busy={busy || undefined} {...rest}>
      {busy && <Spinner />}
      {children}
    </button>
  );
}

/** A button that is only a picture; label is its name, and shows on hover. */
export function IconButton({ label, children, className, side, ...rest }: ButtonProps & { label: string; side?: "top" | "bottom" | "left" | "right" }) {
  return (
    <Hint text={label} side={side}>
      <Button look="ghost" aria-label={label} className={cx(css["icon"], className)} {...rest}>
        {children}
      </Button>
    </Hint>
  );
}

export function Hint({ text, children, side = "bottom" }: { text: string; children: ReactNode; side?: "top" | "bottom" | "left" | "right" }) {
  return (
    <RadixTooltip.Root>
      <RadixTooltip.Trigger asChild>{children}</RadixTooltip.Trigger>
      <RadixTooltip.Portal>
        <RadixTooltip.Content className={css["tooltip"]} side={side} sideOffset={6} collisionPadding={8}>
          {text}
        </RadixTooltip.Content>
      </RadixTooltip.Portal>
    </RadixTooltip.Root>
  );
}

export function Spinner({ size = 16, label }: { size?: number; label?: string }) {
  return <LoaderCircle size={size} className={css["spinner"]} role={label ? "img" : undefined} aria-label={label} aria-hidden={!label} />;
}

export type Tone = "bad" | "warn" | "ok" | "info";

const tones: Record<Tone, { name: string | undefined; icon: typeof Info }> = {
  bad: { name: css["toneBad"], icon: OctagonAlert },
  warn: { name: css["toneWarn"], icon: AlertTriangle },
  ok: { name: css["toneOk"], icon: CheckCircle2 },
  info: { name: css["toneInfo"], icon: Info },
};

export const toneClass = (tone: Tone) => tones[tone].name;

export function ToneIcon({ tone }: { tone: Tone }) {
  const Icon = tones[tone].icon;
  return <Icon size={18} aria-hidden />;
}

/** A box with something to know, and ways on. Bad ones are announced. */
export function Notice({ tone = "info", children, actions }: { tone?: Tone; children: ReactNode; actions?: ReactNode }) {
  return (
    <div className={cx(css["notice"], toneClass(tone))} role={tone === "bad" ? "alert" : "status"}>
      <ToneIcon tone={tone} />
      <div>
        {children}
        {actions && <div className={css["actions"]}>{actions}</div>}
      </div>
    </div>
  );
}

/** What went wrong, as a sentence, with all problems of a manifest, and a way on. */
export function Failure({ error, retry, actions }: { error: unknown; retry?: () => void; actions?: ReactNode }) {
  const problems = error instanceof ApiError ? error.problems : [];
  return (
    <Notice
      tone="bad"
      actions={
        (retry || actions) && (
          <>
            {retry && <Button size="small" onClick={retry}>Try again</Button>}
            {actions}
          </>
        )
      }
    >
      <span>{sentence(error)}</span>
      {problems.length > 0 && (
        <ul>
          {problems.map((p, i) => (
            <li key={i}>
              {p.path && <code>{p.path}</code>} {p.message}
              {p.fix && <> ({p.fix})</>}
            </li>
          ))}
        </ul>
      )}
    </Notice>
  );
}

export function Empty({ icon, title, children, actions }: { icon?: ReactNode; title: string; children?: ReactNode; actions?: ReactNode }) {
  return (
    <div className={css["empty"]}>
      {icon}
      <h2>{title}</h2>
      {children && <p>{children}</p>}
      {actions && <div className={css["actions"]}>{actions}</div>}
    </div>
  );
}

export function Skeleton({ width = "100%", height = 16 }: { width?: number | string; height?: number | string }) {
  return <div className={css["skeleton"]} style={{ width, height }} aria-hidden />;
}

export function Badge({ tone, children }: { tone?: Tone | "accent"; children: ReactNode }) {
  return <span className={cx(css["badge"], tone && css[tone])}>{children}</span>;
}

export function Card({ title, actions, children, className, flush }: { title?: ReactNode; actions?: ReactNode; children: ReactNode; className?: string; flush?: boolean }) {
  return (
    <section className={cx(css["card"], className)}>
      {title && (
        <div className={css["cardHead"]}>
          <h2>{title}</h2>
          {actions}
        </div>
      )}
      {flush ? children : <div className={css["cardBody"]}>{children}</div>}
    </section>
  );
}

/** A page's frame: title of the document, heading, lead and actions. */
export function Page({ title, heading, lead, actions, narrow, children }: { title: string; heading?: ReactNode; lead?: ReactNode; actions?: ReactNode; narrow?: boolean; children: ReactNode }) {
  useTitle(title);
  return (
    <div className={cx(css["page"], narrow && css["narrow"])}>
      {heading !== null && (
        <div className={css["pageHead"]}>
          <div>
            <h1>{heading ?? title}</h1>
            {lead && <p className={css["pageLead"]}>{lead}</p>}
          </div>
          {actions}
        </div>
      )}
      {children}
    </div>
  );
}

/** The document's title while the component is shown. */
export function useTitle(title: string) {
  useEffect(() => {
    document.title = title ? `${title} · Sandlot` : "Sandlot";
  }, [title]);
}

type FieldProps = { label: ReactNode; hint?: ReactNode; wrong?: string | null };

/** A label, what belongs to it, and what is wrong with it. */
export function Field({ label, hint, wrong, children }: FieldProps & { children: (ids: { id: string; "aria-describedby"?: string; "aria-invalid"?: boolean }) => ReactNode }) {
  const id = useId();
  return (
    <div className={css["field"]}>
      <label className={css["label"]} htmlFor={id}>{label}</label>
      {children({ id, "aria-describedby": wrong || hint ? `${id}-about` : undefined, "aria-invalid": wrong ? true : undefined })}
      {(wrong || hint) && (
        <div id={`${id}-about`} className={wrong ? css["wrong"] : css["hint"]}>{wrong || hint}</div>
      )}
    </div>
  );
}

export function TextField({ label, hint, wrong, ...rest }: FieldProps & ComponentProps<"input">) {
  return (
    <Field label={label} hint={hint} wrong={wrong}>
      {(ids) => <input className={css["input"]} {...ids} {...rest} />}
    </Field>
  );
}

export function SelectField({ label, hint, wrong, children, ...rest }: FieldProps & ComponentProps<"select">) {
  return (
    <Field label={label} hint={hint} wrong={wrong}>
      {(ids) => <select className={css["input"]} {...ids} {...rest}>{children}</select>}
    </Field>
  );
}

type DialogProps = {
  open: boolean;
  onOpenChange?: (open: boolean) => void;
  title: ReactNode;
  text?: ReactNode;
  children?: ReactNode;
  actions?: ReactNode;
  width?: number;
  /** Cannot be left by Escape or a click beside it. */
  firm?: boolean;
};

export function Dialog({ open, onOpenChange, title, text, children, actions, width, firm }: DialogProps) {
  return (
    <RadixDialog.Root open={open} onOpenChange={onOpenChange}>
      <RadixDialog.Portal>
        <RadixDialog.Overlay className={css["scrim"]} />
        <RadixDialog.Content
          className={css["dialog"]}
          style={width ? ({ "--dialog-width": `${width}px` } as React.CSSProperties) : undefined}
          {...(text ? {} : { "aria-describedby": undefined })}
          onEscapeKeyDown={firm ? (e) => e.preventDefault() : undefined}
          onInteractOutside={firm ? (e) => e.preventDefault() : undefined}
        >
          <div className={css["dialogHead"]}>
            <RadixDialog.Title asChild><h2>{title}</h2></RadixDialog.Title>
            {!firm && (
              <RadixDialog.Close asChild>
                <Button look="ghost" size="small" className={css["icon"]} aria-label="Close"><X size={16} /></Button>
              </RadixDialog.Close>
            )}
          </div>
          {text && <RadixDialog.Description className={css["dialogText"]}>{text}</RadixDialog.Description>}
          {children}
          {actions && <div className={css["dialogActions"]}>{actions}</div>}
        </RadixDialog.Content>
      </RadixDialog.Portal>
    </RadixDialog.Root>
  );
}

/** A menu that opens from its trigger; fill it with MenuItem and MenuLine. */
export function Menu({ trigger, children, align = "end" }: { trigger: ReactNode; children: ReactNode; align?: "start" | "end" }) {
  return (
    <DropdownMenu.Root modal={false}>
      <DropdownMenu.Trigger asChild>{trigger}</DropdownMenu.Trigger>
      <DropdownMenu.Portal>
        <DropdownMenu.Content className={css["menu"]} align={align} sideOffset={6} collisionPadding={8}>{children}</DropdownMenu.Content>
      </DropdownMenu.Portal>
    </DropdownMenu.Root>
  );
}

export function MenuItem({ danger, children, ...rest }: ComponentProps<typeof DropdownMenu.Item> & { danger?: boolean }) {
  return <DropdownMenu.Item className={cx(css["menuItem"], danger && css["danger"])} {...rest}>{children}</DropdownMenu.Item>;
}

export const MenuLabel = ({ children }: { children: ReactNode }) => <DropdownMenu.Label className={css["menuLabel"]}>{children}</DropdownMenu.Label>;
export const MenuLine = () => <DropdownMenu.Separator className={css["menuLine"]} />;
