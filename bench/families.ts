import type { Family } from './scenario.js'
import { deviceScenarios } from './scenarios/device.js'
import { downloadScenarios } from './scenarios/download.js'
import { growthScenarios } from './scenarios/growth.js'
import { memoryScenarios } from './scenarios/memory.js'
import { mixedScenarios } from './scenarios/mixed.js'
import { storageScenarios } from './scenarios/storage.js'
import { uploadScenarios } from './scenarios/upload.js'

/** Everything that is measured, in the order of the report. */
export const FAMILIES: Family[] = [
  { name: 'upload', scenarios: uploadScenarios },
  { name: 'mixed', scenarios: mixedScenarios },
  { name: 'download', scenarios: downloadScenarios },
  { name: 'device', scenarios: deviceScenarios },
  { name: 'growth', scenarios: growthScenarios },
  { name: 'storage', scenarios: storageScenarios },
  { name: 'memory', scenarios: memoryScenarios }
]
