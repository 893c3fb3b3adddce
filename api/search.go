package api

// SearchItem is one thing that GET /search found; of the kinds of the
// reference API labd has "playground" only.
type SearchItem struct {
	Kind            string   `json:"kind"`
	Name            string   `json:"name"`
	Title           string   `json:"title"`
	Description     string   `json:"description"`
	PageURL         string   `json:"pageUrl"`
	Difficulty      string   `json:"difficulty,omitempty"`
	Categories      []string `json:"categories"`
	Tags            []string `json:"tags"`
	Official        bool     `json:"official"`
	AttemptCount    int      `json:"attemptCount"`
	CompletionCount int      `json:"completionCount"`
}

// SearchResult answers GET /search, the best first.
type SearchResult struct {
	Items []SearchItem `json:"items"`
}

// SearchPlayground is the kind of playgrounds.
const SearchPlayground = "playground"

// TotalHeader counts all that was found, beyond limit, too.
const TotalHeader = "X-Total-Count"

// Search is what is looked for. Words must all occur; a list matches if one of
// its values does, and an empty one always.
type Search struct {
	Words              string
	Kinds, Categories  []string
	Tags, Difficulties []string
	Limit, Offset      int
}

// Page is a part of a list.
type Page struct{ Limit, Offset int }
