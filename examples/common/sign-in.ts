/** A token of the example server for a device of a user. */
export async function signIn (serverUrl: string, user: string, device: string, send: (url: string, init: RequestInit) => Promise<Response> = fetch): Promise<string> {
  const reply = await send(`${serverUrl}/dummy-signin`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ user, password: 'demo', device })
  })
  if (!reply.ok) throw new Error(`Sign-in failed with status ${reply.status}.`)
  const { token } = await reply.json() as { token: string }
  return token
}
