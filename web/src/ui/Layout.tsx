// What surrounds every page: top bar, offline notice, messages.
import { LogOut, Menu as MenuIcon, Monitor, Moon, Settings2, Sun, UserRound, WifiOff } from "lucide-react";
import { useQueryClient } from "@tanstack/react-query";
import { type ReactNode, useEffect, useRef } from "react";
import { Link, useLocation } from "wouter";
import { quietly } from "../api/client";
import { isAdministrator, useAway, useMe } from "../session/useSession";
import { SignInAgain } from "../session/SignIn";
import { Button, IconButton, Menu, MenuItem, MenuLabel, MenuLine, cx } from ".";
import css from "./layout.module.css";
import { type Theme, chooseTheme, useTheme } from "./theme";
import { Messages } from "./toast";

const themes: [Theme, string, typeof Sun][] = [
  ["light", "Light", Sun],
  ["dark", "Dark", Moon],
  ["system", "As the system", Monitor],
];

export function Logo() {
  return (
    <svg width="26" height="26" viewBox="0 0 32 32" aria-hidden>
      <rect width="32" height="32" rx="8" fill="#d9622b" />
      <path d="M16 6 26 16 16 26 6 16Z" fill="none" stroke="#fff" strokeWidth="2.4" strokeLinejoin="round" />
      {[[16, 6], [26, 16], [16, 26], [6, 16]].map(([x, y]) => <circle key={`${x}-${y}`} cx={x} cy={y} r="2.6" fill="#fff" />)}
    </svg>
  );
}

/** bare: without the bar, for pages of nobody yet. full: without the page's own scrolling. */
export function Layout({ bare, full, children }: { bare?: boolean; full?: boolean; children: ReactNode }) {
  const main = useRef<HTMLElement>(null);
  const [path] = useLocation();
  const last = useRef(path);
  useEffect(() => {
    if (last.current === path) return;
    last.current = path;
    window.scrollTo(0, 0);
    main.current?.focus({ preventScroll: true });
  }, [path]);
  return (
    <div className={cx(css["frame"], full && css["full"])}>
      <a className={css["skip"]} href="#main">Skip to the content</a>
      {!bare && <TopBar />}
      <Away />
      <main id="main" ref={main} tabIndex={-1} className={css["main"]}>{children}</main>
      <SignInAgain />
      <Messages />
    </div>
  );
}

function Away() {
  const away = useAway();
  return (
    <div role="status" aria-live="polite">
      {away && (
        <div className={css["away"]}>
          <WifiOff size={16} aria-hidden /> labd cannot be reached. The page goes on by itself as soon as it can.
        </div>
      )}
    </div>
  );
}

function TopBar() {
  const me = useMe();
  const links = [
    ["/", "Catalog"],
    ...(me ? [["/plays", "My plays"]] : []),
    ...(isAdministrator(me) ? [["/admin", "Administration"]] : []),
  ] as [string, string][];
  return (
    <header className={css["top"]}>
      <Link href="/" className={css["brand"]}><Logo /> Sandlot</Link>
      <nav aria-label="Main" className={css["nav"]}>
        {links.map(([href, name]) => <NavLink key={href} href={href}>{name}</NavLink>)}
      </nav>
      <div className={css["small"]}>
        <Menu align="start" trigger={<IconButton label="Pages"><MenuIcon size={19} /></IconButton>}>
          {links.map(([href, name]) => <MenuItem key={href} asChild><Link href={href}>{name}</Link></MenuItem>)}
        </Menu>
      </div>
      <div className={css["right"]}>
        <ThemeMenu />
        {me && <UserMenu />}
        {me === null && <Button look="primary" size="small" asChild><Link href={`/login?next=${encodeURIComponent(location.pathname)}`}>Sign in</Link></Button>}
      </div>
    </header>
  );
}

function NavLink({ href, children }: { href: string; children: ReactNode }) {
  const [path] = useLocation();
  const current = href === "/" ? path === "/" || path.startsWith("/playgrounds") : path === href || path.startsWith(href + "/");
  return <Link href={href} className={css["link"]} aria-current={current ? "page" : undefined}>{children}</Link>;
}

function ThemeMenu() {
  const theme = useTheme();
  const Icon = themes.find(([t]) => t === theme)?.[2] ?? Monitor;
  return (
    <Menu trigger={<Button look="ghost" className={css["round"]} aria-label="Colours"><Icon size={18} /></Button>}>
      <MenuLabel>Colours</MenuLabel>
      {themes.map(([value, name, Each]) => (
        <MenuItem key={value} onSelect={() => chooseTheme(value)}>
          <Each size={16} aria-hidden /> {name} {theme === value && <span className={css["check"]} aria-label="chosen">✓</span>}
        </MenuItem>
      ))}
    </Menu>
  );
}

function UserMenu() {
  const me = useMe();
  const cache = useQueryClient();
  const [, go] = useLocation();
  if (!me) return null;
  const name = me.name || me.id;
  const leave = async () => {
    await quietly("POST", "/api/auth/signout");
    cache.clear();
    cache.setQueryData(["me"], null);
    go("/login");
  };
  return (
    <Menu trigger={<Button look="ghost" className={css["user"]} aria-label={`Account of ${name}`}><span className={css["avatar"]} data-letter={name.slice(0, 1).toUpperCase()} aria-hidden /><span className={css["name"]}>{name}</span></Button>}>
      <MenuItem asChild><Link href="/account"><UserRound size={16} aria-hidden /> Account</Link></MenuItem>
      {isAdministrator(me) && <MenuItem asChild><Link href="/admin"><Settings2 size={16} aria-hidden /> Administration</Link></MenuItem>}
      <MenuLine />
      <MenuItem onSelect={() => void leave()}><LogOut size={16} aria-hidden /> Sign out</MenuItem>
    </Menu>
  );
}
