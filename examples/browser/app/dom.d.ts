// What the example uses of the DOM. The project is compiled without its types; an app has them.
interface Element {
  textContent: string
  className: string
  checked: boolean
  value: string
  hidden: boolean
  title: string
  type: string
  placeholder: string
  onclick: (() => void) | null
  onchange: (() => void) | null
  onsubmit: ((event: { preventDefault: () => void }) => void) | null
  append: (...children: Element[]) => void
  replaceChildren: (...children: Element[]) => void
  setAttribute: (name: string, value: string) => void
  focus: () => void
}

declare const document: { querySelector: (selector: string) => Element | null, createElement: (name: string) => Element, activeElement: Element | null }
declare const location: { search: string }
declare const window: { addEventListener: (type: string, listener: () => void) => void }
declare class Worker {
  constructor (url: string | URL, options: { type: 'module' })
  postMessage: (message: unknown) => void
  addEventListener: (type: 'message' | 'error', listener: (event: never) => void) => void
  removeEventListener: (type: 'message' | 'error', listener: (event: never) => void) => void
}
