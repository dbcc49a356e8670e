import type { FastifyInstance } from 'fastify'

const EXPIRES_IN_SECONDS = 3_600

interface Signin { user: string, password: string, device: string }

/**
 * POST /dummy-signin gives a token to whoever asks. FOR DEVELOPMENT ONLY: it believes every password.
 * Your app's own sign-in belongs here; all that sync needs from it is a user and a device.
 */
export async function dummySignin (app: FastifyInstance): Promise<void> {
  app.log.warn('POST /dummy-signin accepts every password. It is for development only: never expose this server.')
  app.post<{ Body: Signin }>('/dummy-signin', {
    schema: {
      summary: 'Sign in with any password (DEVELOPMENT ONLY)',
      description: 'Believes every password. A real app signs people in and puts the same two claims into its token: `sub`, the user, and `did`, the device.',
      tags: ['app'],
      security: [],
      body: {
        type: 'object',
        required: ['user', 'password', 'device'],
        properties: {
          user: { type: 'string', minLength: 1, maxLength: 200, examples: ['alice'] },
          password: { type: 'string', minLength: 1, maxLength: 200, examples: ['anything'] },
          device: { type: 'string', minLength: 1, maxLength: 200, pattern: '^(?!oversync:)', examples: ['phone'] }
        }
      },
      response: {
        200: {
          description: 'A token for the header `Authorization: Bearer …`.',
          type: 'object',
          required: ['token', 'expires_in', 'user', 'device'],
          properties: {
            token: { type: 'string' },
            expires_in: { type: 'integer', description: 'Seconds.', examples: [EXPIRES_IN_SECONDS] },
            user: { type: 'string', examples: ['alice'] },
            device: { type: 'string', examples: ['phone'] }
          }
        }
      }
    }
  }, async request => {
    const { user, device } = request.body
    const token = app.jwt.sign({ sub: user, did: device }, { expiresIn: `${EXPIRES_IN_SECONDS}s` })
    return { token, expires_in: EXPIRES_IN_SECONDS, user, device }
  })
}
