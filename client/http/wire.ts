import type { components, operations } from '../generated/api.js'

type Schemas = components['schemas']

/** The names of the wire that the client uses; the generated file is their only source. */
export type UploadRequest = Schemas['UploadRequest']
export type UploadChange = Schemas['UploadChange']
export type UploadResponse = Schemas['UploadResponse']
export type ChangeStatus = Schemas['ChangeStatus']
export type InvalidReason = Schemas['InvalidDetails']['reason']
export type ServerRow = Schemas['ServerRow']
export type DownloadQuery = NonNullable<operations['download']['parameters']['query']>
export type DownloadResponse = Schemas['DownloadResponse']
export type DownloadedChange = Schemas['DownloadedChange']
export type ErrorResponse = Schemas['ErrorResponse']
