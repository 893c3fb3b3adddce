package labinit

import (
	"encoding/json"
	"strings"
)

// conditionsFile is where scripts written for the reference platform read
// what was chosen.
const conditionsFile = "/opt/iximiuz-labs/init-conditions.json"

// initConditions writes the chosen values as one flat object. It is there
// without any, too, so that a script may read it without asking first.
func (id *identity) initConditions() error {
	if id.claimed[conditionsFile] && id.tree.exists(conditionsFile) {
		return nil
	}
	var text strings.Builder
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false) // people read it, too
	e.SetIndent("", "  ")
	values := id.config.InitConditions
	if values == nil {
		values = map[string]*string{}
	}
	if err := e.Encode(values); err != nil {
		return err
	}
	return id.tree.write(conditionsFile, []byte(text.String()), rootFile)
}
