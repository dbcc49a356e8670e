import type { FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import { contractProblems, requestProblems, type Reply } from './contract.js'

/**
 * Compares every reply of the plugin's routes with openapi.json, whoever asked and by whatever way, and fails the test with
 * the request and what is wrong. A request that was answered 200 must be one that the document lets clients send. To be called
 * before the plugin is registered.
 */
export function checkEveryReply (t: Test, app: FastifyInstance, prefix = '/sync'): void {
  app.addHook('onSend', async (request, reply, payload) => {
    const { method, url } = request
    const [path, search] = url.split('?', 2) as [string, string?]
    const isOurs = path.startsWith(`${prefix}/`) || request.routeOptions.config.oversync !== undefined
    if (!isOurs || (payload !== null && payload !== undefined && typeof payload !== 'string')) return
    // HEAD is GET whose body stays here.
    const verb = method === 'HEAD' ? 'GET' : method
    // The route's own path, whatever spelling the router took for it.
    const own = request.routeOptions.url ?? path
    const admin = own.indexOf('/admin/materialize-failures')
    const route = admin >= 0 ? own.slice(admin) : request.routeOptions.url === undefined ? path : `/sync${own.slice(prefix.length)}`
    const sent: Reply = { statusCode: reply.statusCode, headers: reply.getHeaders(), body: payload ?? '' }
    const problems = contractProblems(verb, route, sent)
    if (reply.statusCode === 200) {
      const body = Buffer.isBuffer(request.body) ? JSON.parse(request.body.toString()) as unknown : request.body
      problems.push(...requestProblems(verb, search === undefined ? route : `${route}?${search}`, body).map(problem => `was answered 200, but a client may not send it: ${problem}`))
    }
    if (problems.length > 0) t.fail(`${method} ${url.slice(0, 200)} ${reply.statusCode} keeps the contract`, { problems, reply: sent.body.slice(0, 500), body: String(request.body).slice(0, 1000) })
  })
}
