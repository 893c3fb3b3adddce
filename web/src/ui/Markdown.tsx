// What authors wrote, as text: HTML in it is shown as nothing, links lead out in
// a new tab, pictures come from the page itself or not at all.
import ReactMarkdown, { defaultUrlTransform } from "react-markdown";
import remarkGfm from "remark-gfm";
import { shownCover } from "../pages/catalog";
import css from "./markdown.module.css";

export default function Markdown({ text }: { text: string }) {
  return (
    <div className={css["text"]}>
      <ReactMarkdown
        skipHtml
        remarkPlugins={[remarkGfm]}
        urlTransform={(url, key) => (key === "src" ? (shownCover(url) ?? "") : defaultUrlTransform(url))}
        components={{
          // The page has its own first heading.
          h1: ({ children }) => <h2>{children}</h2>,
          h2: ({ children }) => <h3>{children}</h3>,
          a: ({ href, children }) => (href?.startsWith("#") || !href ? <>{children}</> : <a href={href} target="_blank" rel="noopener noreferrer nofollow">{children}</a>),
          // What is too wide scrolls by itself, by keyboard too.
          pre: ({ children }) => <pre tabIndex={0}>{children}</pre>,
          table: ({ children }) => <div className={css["wide"]} tabIndex={0}><table>{children}</table></div>,
          img: ({ src, alt }) => (src ? <img src={src} alt={alt ?? ""} /> : <span>{alt}</span>),
        }}
      >
        {text}
      </ReactMarkdown>
    </div>
  );
}
