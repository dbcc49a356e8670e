import { Type, type Static } from '@sinclair/typebox'
import { ERRORS, type ErrorCode } from '../errors.js'
import { stringEnum } from './typebox.js'

export const ErrorResponseSchema = Type.Object({
  error: stringEnum(Object.keys(ERRORS) as ErrorCode[], { description: 'What went wrong, for programs.', examples: ['invalid_request'] }),
  message: Type.String({ description: 'A sentence for people; its words may change.', examples: ['Parameter "after" must be an integer from 0 to 9007199254740991.'] })
}, { $id: 'ErrorResponse', description: 'Every error of these routes.' })

export type ErrorResponse = Static<typeof ErrorResponseSchema>
