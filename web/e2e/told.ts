// What test/page_test.go tells: where the labds are.
export type Told = { url: string; first: string; single: string; control: string; screens: string; out: string };

const raw = process.env["SANDLOT_PAGE"];
if (!raw) throw new Error("run these stories by `go test ./test -run TestPage`: they need labds");

export const told = JSON.parse(raw) as Told;
