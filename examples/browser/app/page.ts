import { connectDatabase, type SyncClientError } from 'fastify-oversync/client/browser'

interface Post { id: string, title: string | null, content: string | null }

const user = new URLSearchParams(location.search).get('user') ?? 'alice'

// A database to read and write at once; the worker keeps it in the browser's own file system.
const db = connectDatabase(new Worker(`/notes/worker.js?user=${encodeURIComponent(user)}`, { type: 'module' }), { name: `notes-${user}` })

const find = (id: string): Element => document.querySelector(`#${id}`) as Element

function make (name: string, className: string, text = ''): Element {
  const element = document.createElement(name)
  element.className = className
  element.textContent = text
  return element
}

// ---- the list

async function write (sql: string, params: Array<string | null>): Promise<void> {
  await db.run(sql, params) // on the screen by the event `change`, at once and in every tab, and on its way
  await showStatus()
}

function showPost ({ id, title, content }: Post): Element {
  const row = make('li', 'post')
  const field = (className: string, column: 'title' | 'content', value: string | null, placeholder: string): Element => {
    const input = make('input', className)
    input.value = value ?? ''
    input.placeholder = placeholder
    input.setAttribute('aria-label', placeholder)
    input.onchange = () => { write(`update posts set ${column} = ? where id = ?`, [input.value === '' ? null : input.value, id]).catch(report) }
    return input
  }
  const remove = make('button', 'remove', '×')
  remove.setAttribute('aria-label', 'Delete')
  remove.onclick = () => { write('delete from posts where id = ?', [id]).catch(report) }
  row.append(field('title', 'title', title, 'Title'), field('content', 'content', content, 'Add a line …'), remove)
  return row
}

async function showPosts (): Promise<void> {
  const posts = await db.all<Post>('select id, title, content from posts order by created_at, id')
  find('posts').replaceChildren(...posts.map(showPost))
  find('empty').hidden = posts.length > 0
}

// ---- sync: the loop of the client does it, for all tabs together

async function goOnline (isOnline: boolean): Promise<void> {
  await (isOnline ? db.sync.start() : db.sync.stop())
  report(null)
  await showStatus()
}

function report (error: unknown): void {
  const { code, message } = (error ?? {}) as Partial<SyncClientError>
  find('error').hidden = error === null
  find('error').textContent = error === null ? '' : code === 'network' ? 'The server cannot be reached. Your notes are safe here.' : String(message)
}

async function showStatus (): Promise<void> {
  const [status, held, conflicts] = await Promise.all([db.sync.status(), db.sync.held(), db.sync.conflicts()])
  const waiting = status.pending + status.outbox
  find('dot').className = `dot ${status.state === 'running' ? 'busy' : status.state === 'stopped' ? 'off' : waiting > 0 || status.lastError !== null ? 'waits' : 'ok'}`
  find('status').textContent = waiting > 0 ? `${waiting} ${waiting === 1 ? 'change waits' : 'changes wait'} to be sent` : held.length > 0 ? 'Everything else is sent' : 'Everything is sent'
  find('where').textContent = `${status.persistence === 'opfs' ? 'Kept on this device' : 'In memory only: ' + String(status.reason)} · this tab ${db.role() === 'leader' ? 'has the database' : 'asks the tab that has it'}`

  find('held-box').hidden = held.length === 0
  find('held').replaceChildren(...held.map(row => {
    const item = make('li', 'note', `${row.message} `)
    const discard = make('button', 'link', 'Give up my change')
    discard.onclick = () => { db.sync.discardHeld(row.id).then(showStatus).catch(report) }
    item.append(discard)
    return item
  }))
  find('conflicts-box').hidden = conflicts.length === 0
  find('conflicts').replaceChildren(...conflicts.slice(-5).map(({ mine, theirs, columns }) =>
    make('li', 'note', columns.length === 0 ? 'A row was deleted on one side and edited on the other.' : columns.map(column => `${column}: yours “${String(mine?.[column] ?? '')}”, theirs “${String(theirs?.[column] ?? '')}”`).join('; '))))
}

// ---- the page

find('user').textContent = user
find('new').onsubmit = event => {
  event.preventDefault()
  const { value } = find('new-title')
  if (value === '') return
  find('new-title').value = ''
  write("insert into posts (id, title, created_at) values (?, ?, unixepoch('now'))", [crypto.randomUUID(), value]).catch(report)
}
find('offline').onchange = () => { goOnline(!find('offline').checked).catch(report) }
db.on('change', () => { Promise.all([showPosts(), showStatus()]).catch(report) })
db.on('leader', ({ persistence }) => { if (persistence !== null) Promise.all([showPosts(), showStatus()]).catch(report) })
db.on('otherBuild', () => { report(new Error('This page is open in another version. Reload the other tab.')) })
db.on('status', status => {
  if (status.lastError === null) report(null)
  showStatus().catch(report)
})
db.on('error', report)
goOnline(true).catch(report)
