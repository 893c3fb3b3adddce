// Pages that other pages make ready: where somebody goes next.
import { chunk } from "../ui/chunk";

export const Landing = chunk(() => import("./Landing"));
export const PlayEntry = chunk(() => import("./PlayEntry"));
