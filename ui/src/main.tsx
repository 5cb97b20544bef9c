import '@fontsource-variable/hanken-grotesk/wght.css'
import '@fontsource-variable/literata/wght.css'
import '@fontsource-variable/literata/wght-italic.css'
import './app/styles/tokens.css'
import './app/styles/base.css'

import { start } from './app/start'

const root = document.getElementById('root')
if (root) void start(root)
